// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestTheBoundOnARevokedKey: an API server that says nothing, with its connections open, is noticed within the bound. From
// then on requests are denied, and go on once it is back.
func TestTheBoundOnARevokedKey(t *testing.T) {
	const bound = 12 * time.Second
	strict := startVerifier(t, "--max-staleness="+bound.String())
	lenient := startVerifier(t, "--max-staleness="+bound.String(), "--on-stale=serve")
	p := newPlace(t)
	text := p.key("crm", "staging")
	strict.becomes("the key", text, http.StatusOK)
	lenient.becomes("the key", text, http.StatusOK)

	// Nothing happens for longer than the bound, and nothing is taken for a sign of trouble.
	for quiet := time.Now().Add(3 * bound / 2); time.Now().Before(quiet); time.Sleep(50 * time.Millisecond) {
		if code, _ := strict.verify(text); code != http.StatusOK {
			t.Fatalf("an idle API server: %d", code)
		}
	}
	server, err := world.ProcessNumber("kube-apiserver")
	must(t, err)
	stopped := time.Now()
	must(t, syscall.Kill(server, syscall.SIGSTOP))
	resume := func() { must(t, syscall.Kill(server, syscall.SIGCONT)) }
	t.Cleanup(resume)
	strict.becomes("the key", text, http.StatusServiceUnavailable)
	denied := time.Since(stopped)
	if denied > bound+bound/2 {
		t.Errorf("denied %s after the API server was stopped, want at most %s and what a busy machine needs to ask", denied, bound)
	}
	// The watches of the two are not opened at the same time.
	for _, v := range []*verifier{strict, lenient} {
		eventually(t, "it says that it is not ready", func() bool { return v.get("/readyz") == http.StatusServiceUnavailable })
	}
	if code, _ := lenient.verify(text); code != http.StatusOK {
		t.Errorf("--on-stale=serve: %d", code)
	}
	resume()
	resumed := time.Now()
	strict.becomes("the key", text, http.StatusOK)
	strict.ready()
	t.Logf("denied %s after the stop, answering %s after the end of it", denied.Round(time.Millisecond), time.Since(resumed).Round(time.Millisecond))
}

// TestAnAPIServerThatRestartsIsNotNoticed by those who hold good keys; and a key revoked right after is refused.
func TestAnAPIServerThatRestartsIsNotNoticed(t *testing.T) {
	v := startVerifier(t)
	v.ready()
	p := newPlace(t)
	text := p.key("crm", "staging")
	v.becomes("the key", text, http.StatusOK)
	ended, failed := make(chan struct{}), make(chan int, 1)
	go func() {
		for {
			select {
			case <-ended:
				close(failed)
				return
			case <-time.After(5 * time.Millisecond):
				if code, _ := v.verify(text); code != http.StatusOK {
					failed <- code
					close(failed)
					return
				}
			}
		}
	}()
	must(t, world.CrashAPIServer())
	eventually(t, "the API server is back", func() bool { return v.get("/readyz") == http.StatusOK && apiServerAnswers(t) })
	close(ended)
	if code, ok := <-failed; ok {
		t.Errorf("a good key was answered with %d", code)
	}
	other := p.key("after", "staging")
	v.becomes("a key of after the restart", other, http.StatusOK)
	p.PatchKey("crm", `{"spec":{"state":"Revoked"}}`)
	v.becomes("a key revoked after the restart", text, http.StatusUnauthorized)
}

func apiServerAnswers(t *testing.T) bool {
	return world.Kubectl(t.Context(), "get", "--raw", "/readyz").Run() == nil
}

// TestNothingIsAnsweredFromNothing: a verifier that never saw the records denies everything, also where it is to serve what
// is stale.
func TestNothingIsAnsweredFromNothing(t *testing.T) {
	p := newPlace(t)
	text := p.key("crm", "staging")
	server, err := world.ProcessNumber("kube-apiserver")
	must(t, err)
	// Everything that needs the API server comes before.
	v := startVerifier(t, "--on-stale=serve")
	must(t, syscall.Kill(server, syscall.SIGSTOP))
	resume := func() { must(t, syscall.Kill(server, syscall.SIGCONT)) }
	t.Cleanup(resume)
	eventually(t, "it listens", func() bool { return v.get("/healthz") == http.StatusOK })
	if code, _ := v.verify(text); code != http.StatusServiceUnavailable {
		t.Errorf("without records it answers %d", code)
	}
	resume()
	v.becomes("the key", text, http.StatusOK)
}
