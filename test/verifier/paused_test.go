// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// wire is a connection between a verifier and the API server that a test can cut. Ends notice nothing of it.
type wire struct {
	listener net.Listener
	to       string
	cut      atomic.Bool
	// passed counts the bytes that the API server has sent.
	passed atomic.Int64

	mutex sync.Mutex
	open  []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{listener: listener, to: to}
	t.Cleanup(func() {
		_ = listener.Close()
		w.mutex.Lock()
		defer w.mutex.Unlock()
		for _, connection := range w.open {
			_ = connection.Close()
		}
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.mutex.Lock()
			w.open = append(w.open, near, far)
			w.mutex.Unlock()
			go w.carry(far, near, nil)
			go w.carry(near, far, &w.passed)
		}
	}()
	return w
}

// carry carries bytes until the wire is cut; then it drops them.
func (w *wire) carry(to, from net.Conn, passed *atomic.Int64) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !w.cut.Load() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
			if passed != nil {
				passed.Add(int64(n))
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && !w.cut.Load() {
				_ = to.Close()
			}
			return
		}
	}
}

// TestFreshness_OfAVerifierThatWasPausedAndCutOff: it is stopped, events gather in its buffers, it is cut off from the API server, a key
// is revoked, and it goes on after the bound. What it reads then must not make its records fresh.
func TestFreshness_OfAVerifierThatWasPausedAndCutOff(t *testing.T) {
	const bound = 12 * time.Second
	config, err := world.ServiceAccountConfig(t.Context(), controlplane.OperatorNamespace, controlplane.VerifierAccount)
	must(t, err)
	apiServer, err := url.Parse(config.Host)
	must(t, err)
	w := newWire(t, apiServer.Host)
	apiServer.Host = w.listener.Addr().String()
	config.Host = apiServer.String()
	v := &verifier{Verifier: &testenv.Verifier{Address: freeAddress(t), Client: &http.Client{Timeout: 10 * time.Second}}, t: t}
	v.Program, err = world.StartVerifierWith(config, &world.Log, "--http-bind-address="+v.Address, "--drain-delay=0s", "--max-staleness="+bound.String())
	must(t, err)
	t.Cleanup(func() { must(t, v.Kill()) })

	p := newPlace(t)
	text := p.key("crm", "staging")
	v.becomes("the key", text, http.StatusOK)
	must(t, v.Pause())
	paused := time.Now()
	before := w.passed.Load()
	p.key("another", "staging")
	eventually(t, "the event is in the buffers of the verifier", func() bool { return w.passed.Load() > before })
	w.cut.Store(true)
	p.PatchKey("crm", `{"spec":{"state":"Revoked"}}`)
	eventually(t, "the key is revoked", func() bool {
		key := &v1alpha1.DGbotAPIKey{}
		must(t, admin.Get(t.Context(), types.NamespacedName{Namespace: p.Name, Name: "crm"}, key))
		return apimeta.IsStatusConditionFalse(key.Status.Conditions, v1alpha1.ReadyCondition)
	})
	eventually(t, "the bound is over", func() bool { return time.Since(paused) > bound+time.Second })
	must(t, v.Resume())
	for resumed := time.Now(); time.Since(resumed) < bound/2; time.Sleep(20 * time.Millisecond) {
		if code, _ := v.verify(text); code != http.StatusServiceUnavailable {
			t.Fatalf("the revoked key is answered with %d, %s after the pause", code, time.Since(resumed).Round(time.Millisecond))
		}
	}
	w.cut.Store(false)
	v.becomes("the revoked key", text, http.StatusUnauthorized)
}
