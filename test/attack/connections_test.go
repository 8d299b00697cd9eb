// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"
)

// shares are the parts of the memory limit that the connections of each listener may take, in bytes at the shipped limit, and requests that
// of all unanswered requests: internal/verify/serve derives the default of --max-connections from them.
var shares = map[string]int{"http": limitBytes * 7 / 16, "grpc": limitBytes * 4 / 16}

const requests = limitBytes / 16

// connectionKind is something that a client without a key can do with a connection to keep it open.
type connectionKind struct {
	name, listener string
	isSecured      bool
	hold           func(ctx context.Context, to target) error
}

// connectionKinds are all states in which a connection can be for seconds.
func connectionKinds() (kinds []connectionKind) {
	for _, secured := range []bool{false, true} {
		prefix := ""
		if secured {
			prefix = "TLS, "
			kinds = append(kinds, connectionKind{"HTTP, TLS handshake unfinished", "http", true, halfHandshake},
				connectionKind{"gRPC, TLS handshake unfinished", "grpc", true, halfHandshake})
		}
		for name, attack := range map[string]string{
			"idle": "idle connections", "header unfinished": "headers that never end", "body of 64 KiB unfinished": "a body that lacks its end",
			"chunked body unfinished": "bodies that never end",
		} {
			kinds = append(kinds, connectionKind{"HTTP, " + prefix + name, "http", secured, http1Attacks[attack]})
		}
		for name, attack := range map[string]string{
			"idle": "idle connections", "100 messages of 64 KiB unfinished": "messages of allowed size that are never finished", "100 streams with many headers": "many headers",
		} {
			kinds = append(kinds, connectionKind{"gRPC, " + prefix + name, "grpc", secured, http2Attacks[attack]})
		}
	}
	return kinds
}

// TestVerifier_ConnectionsFitTheirShare: at the shipped memory limit, as many connections as a listener accepts take no more than the share
// from which the default of --max-connections follows, in whatever state clients hold them. It logs what a connection of each kind takes.
func TestVerifier_ConnectionsFitTheirShare(t *testing.T) {
	for _, kind := range connectionKinds() {
		t.Run(kind.name, func(t *testing.T) {
			args, secured := []string{}, (*tls.Config)(nil)
			if kind.isSecured {
				files := certificateFiles(t)
				args = append(args, "--tls-cert-file="+files[0], "--tls-key-file="+files[1])
				protocol := map[string]string{"http": "http/1.1", "grpc": "h2"}[kind.listener]
				secured = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
			}
			v := startAttackedWith(t, secured, args...)
			address := map[string]string{"http": v.http, "grpc": v.grpc}[kind.listener]
			most := v.metric(fmt.Sprintf("dgbot_verifier_max_connections{listener=%q}", kind.listener))
			rest := v.peakMemory()
			held := v.hold(most, kind, func(from string) target { return target{address, from, secured} })
			process := max(v.peakMemory()-rest, 0)
			taken := process + held.sockets - held.requests
			t.Logf("%d of %d connections: %.1f MiB of the process, of which %.1f MiB for unanswered requests, and %.1f MiB of socket buffers; %d KiB for each without the requests",
				held.open, most, mib(process), mib(held.requests), mib(held.sockets), taken/held.open>>10)
			if held.open < most*9/10 {
				t.Errorf("%d connections were open at once, want nearly %d", held.open, most)
			}
			if taken > shares[kind.listener] {
				t.Errorf("they take %.1f MiB beside the requests, want at most %.1f MiB", mib(taken), mib(shares[kind.listener]))
			}
		})
	}
}

func mib(bytes int) float64 { return float64(bytes) / (1 << 20) }

// held is what was seen while connections were held.
type held struct{ open, sockets, requests int }

// hold keeps connections open, each from an address of its own, until as many are open as can be, and a moment longer. Where other work
// takes the processors that needs much more than the seconds it takes alone.
func (v *attacked) hold(connections int, kind connectionKind, to func(from string) target) (most held) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 90*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	for i := range connections {
		from := fmt.Sprintf("127.0.%d.%d", 2+i/250, 1+i%250)
		clients.Go(func() {
			for ctx.Err() == nil {
				_ = kind.hold(ctx, to(from)) // the server closed the connection
				rest(ctx, 50*time.Millisecond)
			}
		})
	}
	port := to("").address
	port = port[strings.LastIndex(port, ":")+1:]
	const enough = 10
	for full := 0; full < enough && ctx.Err() == nil; rest(ctx, 200*time.Millisecond) {
		open := v.metric(fmt.Sprintf("dgbot_verifier_connections{listener=%q}", kind.listener))
		if open >= connections*9/10 {
			full++
		}
		free := v.metric("dgbot_verifier_request_memory_free_bytes")
		most = held{open: max(most.open, open), sockets: max(most.sockets, socketMemory(v.t, port)), requests: max(most.requests, requests-free)}
	}
	return most
}

var socketBuffers = regexp.MustCompile(`skmem:\(r([0-9]+),rb[0-9]+,t([0-9]+),tb[0-9]+,f([0-9]+),w([0-9]+),`)

// socketMemory returns what the system has in buffers for the connections to a port, in bytes: the container's limit counts it. Without
// the program ss it is 0.
func socketMemory(t *testing.T, port string) (bytes int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ss", "-tmnH", "sport", "=", ":"+port).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return 0
	}
	must(t, err)
	for _, socket := range socketBuffers.FindAllStringSubmatch(string(out), -1) {
		for _, i := range []int{1, 3, 4} { // received, kept for later, to be sent
			n, err := strconv.ParseUint(socket[i], 10, 32)
			must(t, err)
			bytes += int(int32(n))
		}
	}
	return bytes
}

// certificateFiles writes a self-signed certificate and its key.
func certificateFiles(t *testing.T) (files [2]string) {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	must(t, err)
	for i, content := range [][]byte{certificate, key} {
		files[i] = filepath.Join(t.TempDir(), "pem")
		must(t, os.WriteFile(files[i], content, 0o600))
	}
	return files
}
