// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	hostileConnections = flag.Int("attack.connections", 1500, "how many connections a client opens to the verifier at once")
	attackTime         = flag.Duration("attack.time", 6*time.Second, "how long each attack on the verifier lasts")
)

const (
	// shipped is the memory limit of config/verifier.
	shipped    = "256MiB"
	limitBytes = 256 << 20
	// mostMemory is what the verifier may take of it under any attack. The rest is for records, and for the system's buffers.
	mostMemory = 192 << 20
	// attacker and neighbor are addresses of clients. The neighbor is a gateway with good requests.
	attacker, neighbor = "127.0.0.1", "127.0.0.2"
)

// attacked is a verifier with the shipped memory limit.
type attacked struct {
	t                   *testing.T
	program             *process.Program
	http, grpc, metrics string
	// secured is set if it serves TLS.
	secured *tls.Config
}

func startAttacked(t *testing.T) *attacked {
	t.Helper()
	return startAttackedWith(t, nil)
}

func startAttackedWith(t *testing.T, secured *tls.Config, args ...string) *attacked {
	t.Helper()
	t.Setenv("GOMEMLIMIT", shipped)
	v := &attacked{t: t, secured: secured}
	for _, address := range []*string{&v.http, &v.grpc, &v.metrics} {
		var err error
		*address, err = process.FreeAddress()
		must(t, err)
	}
	var err error
	args = append(args, "--http-bind-address="+v.http, "--grpc-bind-address="+v.grpc, "--metrics-bind-address="+v.metrics, "--metrics-secure=false", "--drain-delay=0s")
	v.program, err = world.StartVerifier(t.Context(), &world.Log, args...)
	must(t, err)
	t.Cleanup(func() {
		select {
		case <-v.program.Exited():
		default:
			must(t, v.program.Kill())
		}
	})
	world.Eventually(t, "the verifier is ready", func() bool { return v.asks(v.newClient(neighbor)) == nil })
	return v
}

// TestVerifier_HoldsUnderAttack: whatever clients without a key send, over however many connections, the verifier stays far below the
// shipped memory limit, and answers a gateway over its connection and over new ones.
func TestVerifier_HoldsUnderAttack(t *testing.T) {
	for _, protocol := range []struct {
		attacks     map[string]func(ctx context.Context, to target) error
		connections int
		address     func(*attacked) string
	}{
		{http1Attacks, *hostileConnections, func(v *attacked) string { return v.http }},
		{http2Attacks, *hostileConnections / 5, func(v *attacked) string { return v.grpc }},
	} {
		for _, name := range slices.Sorted(maps.Keys(protocol.attacks)) {
			t.Run(name, func(t *testing.T) {
				v := startAttacked(t)
				before := v.peakMemory()
				v.endures(protocol.connections, neighbor, func(ctx context.Context) error {
					return protocol.attacks[name](ctx, target{address: protocol.address(v), from: attacker})
				})
				peak := v.peakMemory()
				t.Logf("memory at rest %d MiB, at most %d MiB; %s", before>>20, peak>>20, v.counts())
				if peak > mostMemory {
					t.Errorf("the verifier took %d MiB, want at most %d MiB", peak>>20, mostMemory>>20)
				}
			})
		}
	}
}

// TestVerifier_KeepsRoomForAddressesWithoutConnections: clients of many addresses take all connections that they may. Further ones are
// rejected and counted, a gateway's existing connections are answered, and the kubelet, whose address has none, still gets an answer.
func TestVerifier_KeepsRoomForAddressesWithoutConnections(t *testing.T) {
	for listener, idle := range map[string]func(ctx context.Context, to target) error{"http": http1Attacks["idle connections"], "grpc": http2Attacks["idle connections"]} {
		t.Run(listener, func(t *testing.T) {
			v := startAttacked(t)
			address := map[string]string{"http": v.http, "grpc": v.grpc}[listener]
			var next atomic.Int64
			v.endures(*hostileConnections, "127.0.0.3", func(ctx context.Context) error {
				return idle(ctx, target{address: address, from: fmt.Sprintf("127.0.1.%d", next.Add(1)%40+1)})
			})
			if rejected := v.metric(fmt.Sprintf("dgbot_verifier_connections_rejected_total{listener=%q}", listener)); rejected == 0 {
				t.Errorf("no connection was rejected: %s", v.counts())
			}
		})
	}
}

// endures lets a number of clients attack for a while, and asks as a gateway all the time. New connections come from an address.
func (v *attacked) endures(connections int, from string, attack func(ctx context.Context) error) {
	v.t.Helper()
	kept, keptGateway := newHTTPClient(neighbor), newEnvoy(v.t, v.grpc, neighbor)
	if err := v.asks(kept); err != nil {
		v.t.Fatal(err)
	}
	if err := keptGateway.asks(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), *attackTime)
	defer cancel()
	var attackers sync.WaitGroup
	for range connections {
		attackers.Go(func() {
			for ctx.Err() == nil {
				_ = attack(ctx) // at its end the server closed the connection
				rest(ctx, 50*time.Millisecond)
			}
		})
	}
	asked, slowest := 0, map[string]time.Duration{}
	for ; ctx.Err() == nil; rest(ctx, 50*time.Millisecond) {
		asked++
		fresh := newHTTPClient(from)
		newGateway := newEnvoy(v.t, v.grpc, from)
		for what, ask := range map[string]func() error{
			"the kept connection": func() error { return v.asks(kept) }, "a new connection": func() error { return v.asks(fresh) },
			"the kept gRPC connection": func() error { return keptGateway.asks(v.t.Context()) },
			"a new gRPC connection":    func() error { return newGateway.asks(v.t.Context()) },
		} {
			began := time.Now()
			if err := withRetries(v.t.Context(), ask); err != nil {
				v.t.Errorf("%s, request %d: %v", what, asked, err)
			}
			slowest[what] = max(slowest[what], time.Since(began).Round(time.Millisecond))
		}
		fresh.CloseIdleConnections()
		_ = newGateway.Close()
		if v.t.Failed() {
			break
		}
	}
	cancel()
	attackers.Wait()
	v.t.Logf("a gateway asked %d times in four ways; slowest answers %v", asked, slowest)
}

// patience is how long a healthy request may take while a few hundred attackers, and the tests of another package, use the same two
// processors. The verifier answers in milliseconds; what takes seconds is the turn of a client among the attackers in this process.
const patience = 30 * time.Second

// withRetries repeats a request until it is answered or patience has passed, as gateways do: a client that does not get its turn for longer
// than the verifier waits for the first bytes of a connection loses the connection, and opens another.
func withRetries(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask()
		if err == nil || ctx.Err() != nil {
			return err
		}
		rest(ctx, 50*time.Millisecond)
	}
}

func newHTTPClient(from string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dialer.DialContext}}
}

// newClient returns a client that speaks TLS if the verifier does. It keeps no connection.
func (v *attacked) newClient(from string) *http.Client {
	client := newHTTPClient(from)
	transport, _ := client.Transport.(*http.Transport)
	transport.DisableKeepAlives = true
	if v.secured != nil {
		transport.TLSClientConfig = v.secured.Clone()
		transport.TLSClientConfig.NextProtos = nil
	}
	return client
}

// asks sends a request without a key: 401 is the answer of a verifier that knows the keys.
func (v *attacked) asks(client *http.Client) error {
	scheme := "http"
	if v.secured != nil {
		scheme = "https"
	}
	response, err := client.Post(scheme+"://"+v.http+"/v1/verify", "application/json", nil)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("answered with %d", response.StatusCode)
	}
	return nil
}

type envoy struct{ *grpc.ClientConn }

func newEnvoy(t *testing.T, address, from string) envoy {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}))
	must(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return envoy{connection}
}

func (e envoy) asks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := auth.NewAuthorizationClient(e).Check(ctx, &auth.CheckRequest{})
	if err != nil {
		return err
	}
	if code := answer.GetDeniedResponse().GetStatus().GetCode(); code != http.StatusUnauthorized {
		return fmt.Errorf("answered with %d", code)
	}
	return nil
}

var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+([0-9]+) kB$`)

// peakMemory is the most that the process had in memory until now, in bytes.
func (v *attacked) peakMemory() int {
	v.t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.program.ProcessNumber()))
	must(v.t, err)
	found := highWater.FindSubmatch(content)
	if found == nil {
		v.t.Fatalf("the verifier has ended:\n%s", world.LogTail(30))
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	must(v.t, err)
	return kilobytes << 10
}

// counts are the metrics of connections.
func (v *attacked) counts() string {
	var lines []string
	for line := range strings.Lines(v.scrape()) {
		if strings.HasPrefix(line, "dgbot_verifier_connections") && !strings.HasSuffix(line, " 0\n") || strings.HasPrefix(line, "go_memstats_heap_inuse_bytes") {
			lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "dgbot_verifier_"))
		}
	}
	return strings.Join(lines, ", ")
}

// metric returns the value of a series.
func (v *attacked) metric(series string) int {
	v.t.Helper()
	for line := range strings.Lines(v.scrape()) {
		if text, is := strings.CutPrefix(line, series+" "); is {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			must(v.t, err)
			return int(value)
		}
	}
	v.t.Fatalf("there is no series %s", series)
	return 0
}

// scrape reads the metrics. Under an attack the verifier may end one answer because it took too long: what is measured is memory, so it is
// asked again, until a minute has passed.
func (v *attacked) scrape() (content string) {
	v.t.Helper()
	world.Eventually(v.t, "the metrics can be read", func() bool {
		client := newHTTPClient(neighbor)
		defer client.CloseIdleConnections()
		response, err := client.Get("http://" + v.metrics + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = response.Body.Close() }()
		read, err := io.ReadAll(response.Body)
		content = string(read)
		return err == nil
	})
	return content
}
