// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/continuity"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestWatcher_ListsAfterALostConnection, because the API server may return with another history, in which it accepts the last version of
// the watch. Each case loses the connection in one way, and the server then has other records.
func TestWatcher_ListsAfterALostConnection(t *testing.T) {
	accepted := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // that of net/http
	}
	for name, lose := range map[string]func(http.ResponseWriter, *http.Request){
		"the stream breaks":               func(w http.ResponseWriter, _ *http.Request) { accepted(w); panic(http.ErrAbortHandler) },
		"the stream ends early":           func(w http.ResponseWriter, _ *http.Request) { accepted(w) },
		"the stream ends after a change":  verifytest.Events(verifytest.Event("MODIFIED", verifytest.Typed(verifytest.Record(verifytest.Mint(t), verifytest.Created(0, "9")), "7"))),
		"the stream ends after bookmarks": verifytest.Events(verifytest.Event("BOOKMARK", verifytest.Typed(verifytest.Record(verifytest.Mint(t)), "7"))),
		"an error in the stream":          verifytest.Events(verifytest.Event("ERROR", verifytest.Failure(500, metav1.StatusReasonInternalError))),
		"another error in the stream":     verifytest.Events(verifytest.Event("ERROR", verifytest.Failure(410, metav1.StatusReasonExpired))),
		"500":                             verifytest.Reject(500, metav1.StatusReasonInternalError),
		"503":                             verifytest.Reject(503, metav1.StatusReasonServiceUnavailable),
		"503 with Retry-After": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "1")
			verifytest.Reject(503, metav1.StatusReasonServiceUnavailable)(w, r)
		},
		"429 with Retry-After": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "1")
			verifytest.Reject(429, metav1.StatusReasonTooManyRequests)(w, r)
		},
		"401":                     verifytest.Reject(401, metav1.StatusReasonUnauthorized),
		"a version of its future": verifytest.Reject(504, metav1.StatusReasonTimeout),
		"something else":          func(w http.ResponseWriter, _ *http.Request) { accepted(w); _, _ = io.WriteString(w, "<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept, gone, added := verifytest.Mint(t), verifytest.Mint(t), verifytest.Mint(t)
			before := []string{verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(kept, verifytest.Created(0, "1")), "5")), verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(gone, verifytest.Created(0, "2")), "6")), verifytest.End("6")}
			after := []string{verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(kept, verifytest.Created(0, "1")), "5")), verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(added, verifytest.Created(0, "3")), "6")), verifytest.End("9")}
			v, server := follow(t, []func(http.ResponseWriter, *http.Request){verifytest.Events(before...), lose, verifytest.Events(after...)}, func(v *Feed) bool {
				return v.knows(added) && !v.knows(gone)
			})
			if !v.knows(kept) {
				t.Error("a record that is in both histories was forgotten")
			}
			for i, wantList := range []bool{true, false, true} {
				question, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+server.questions()[i], nil)
				if verifytest.IsList(question) != wantList || wantList && question.URL.Query().Get("resourceVersion") != "" {
					t.Errorf("request %d is %s", i, server.questions()[i])
				}
			}
		})
	}
}

// TestWatcher_ListsAfterRequestsThatFail also covers the back-off.
func TestWatcher_ListsAfterRequestsThatFail(t *testing.T) {
	for _, failure := range []error{verifytest.ErrConnectionRefused, io.EOF, os.ErrDeadlineExceeded} {
		t.Run(failure.Error(), func(t *testing.T) { testRequestsThatFail(t, failure) })
	}
}

func testRequestsThatFail(t *testing.T, failure error) {
	var away atomic.Bool
	var failed, lists atomic.Int32
	transport := verifytest.Transport{
		Fail: func() error {
			if !away.Load() {
				return nil
			}
			failed.Add(1)
			return failure
		},
		Handler: func(w http.ResponseWriter, r *http.Request) {
			if verifytest.IsList(r) {
				lists.Add(1)
				verifytest.Accept(w, verifytest.End("6"))
				return
			}
			verifytest.Accept(w)
			verifytest.KeepOpen(r)
		},
	}
	inBubble(t, denyAfter2m, transport, func(t *testing.T, v *Feed) {
		time.Sleep(time.Hour)
		if n := lists.Load(); n != 1 || !v.KeyFreshness.Ready(time.Now()) {
			t.Errorf("an idle API server was listed %d times in an hour; age %s", n, v.KeyFreshness.age(v.pulse.moment()))
		}
		away.Store(true)
		time.Sleep(10 * time.Minute)
		if n := failed.Load(); n < 50 || n > 300 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
		if v.KeyFreshness.Answers(time.Now()) {
			t.Error("it answers from records of 10 minutes ago")
		}
		away.Store(false)
		time.Sleep(watchSpan(denyAfter2m.MaxStaleness)/4 + time.Second)
		if n := lists.Load(); n != 2 || !v.KeyFreshness.Ready(time.Now()) {
			t.Errorf("%d lists after the API server is back, ready: %t", n, v.KeyFreshness.Ready(time.Now()))
		}
	})
}

// TestWatcher_StaysReadyWhileTheAPIServerRestarts covers restarts at the start, in the middle and at the end of a watch.
func TestWatcher_StaysReadyWhileTheAPIServerRestarts(t *testing.T) {
	for _, began := range []time.Duration{time.Second, 20 * time.Second, 39 * time.Second} {
		down := func() bool {
			at := time.Since(bubbleEpoch)
			return at > began && at < began+30*time.Second
		}
		transport := verifytest.Transport{
			Fail: func() error {
				if down() {
					return verifytest.ErrConnectionRefused
				}
				return nil
			},
			Handler: func(w http.ResponseWriter, r *http.Request) {
				if verifytest.IsList(r) {
					verifytest.Accept(w, verifytest.End("6"))
					return
				}
				verifytest.Accept(w)
				if left := began - time.Since(bubbleEpoch); left >= 0 {
					verifytest.Hold(r, left+1)
					verifytest.BreakOff(w)
					return
				}
				verifytest.KeepOpen(r)
			},
		}
		inBubble(t, denyAfter2m, transport, func(t *testing.T, v *Feed) {
			synctest.Wait()
			for range 200 {
				if !v.KeyFreshness.Ready(time.Now()) {
					t.Fatalf("a restart after %s: not ready after %s", began, time.Since(bubbleEpoch))
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// bubbleEpoch is the time at the start of a synctest bubble.
var bubbleEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestWatcher_ListsAFlappingAPIServerAtABoundedRate has complete lists, and watches that all break.
func TestWatcher_ListsAFlappingAPIServerAtABoundedRate(t *testing.T) {
	var lists atomic.Int32
	transport := verifytest.Transport{Handler: func(w http.ResponseWriter, r *http.Request) {
		if verifytest.IsList(r) {
			lists.Add(1)
			verifytest.Accept(w, verifytest.End("6"))
			return
		}
		verifytest.Accept(w)
		verifytest.BreakOff(w)
	}}
	inBubble(t, denyAfter2m, transport, func(t *testing.T, v *Feed) {
		const minutes = 60
		for range minutes * 60 {
			time.Sleep(time.Second)
			if !v.KeyFreshness.Ready(time.Now()) {
				t.Fatal("complete lists do not keep it ready")
			}
		}
		// About one in 6 seconds: from 2 to 10.
		if n := lists.Load(); n < 4*minutes || n > 15*minutes {
			t.Errorf("%d lists in %d minutes", n, minutes)
		}
	})
}

// TestFreshness_IsNotMovedByAListThatIsNotComplete covers that, after a lost connection, neither records of an incomplete list
// count nor requests that a proxy accepts. Requests are answered from memory within the bound.
func TestFreshness_IsNotMovedByAListThatIsNotComplete(t *testing.T) {
	for name, showRecords := range map[string]bool{"records without an end": true, "accepts and delivers nothing": false} {
		t.Run(name, func(t *testing.T) {
			gone, shown := verifytest.Mint(t), verifytest.Mint(t)
			var lists atomic.Int32
			transport := verifytest.Transport{Handler: func(w http.ResponseWriter, r *http.Request) {
				switch {
				case verifytest.IsList(r) && lists.Add(1) == 1:
					verifytest.Accept(w, verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(gone, verifytest.Created(0, "1")), "5")), verifytest.End("6"))
				case verifytest.IsList(r):
					verifytest.Accept(w)
					for range 600 {
						if showRecords {
							_, _ = io.WriteString(w, verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(shown, verifytest.Created(0, "2")), "5"))+"\n")
						}
						verifytest.Hold(r, time.Second)
					}
				default:
					verifytest.Accept(w)
					verifytest.Hold(r, time.Second)
					verifytest.BreakOff(w)
				}
			}}
			inBubble(t, denyAfter2m, transport, func(t *testing.T, v *Feed) {
				began := time.Now()
				for ; time.Since(began) < 3*time.Minute; time.Sleep(time.Second) {
					synctest.Wait()
					age := v.KeyFreshness.age(v.pulse.moment())
					if want := time.Since(began); age != want && age != want-time.Second {
						t.Fatalf("after %s the age is %s", want, age)
					}
					if v.KeyFreshness.Answers(time.Now()) && !v.knows(gone) {
						t.Fatal("a record is forgotten before the list is complete")
					}
				}
				if v.knows(shown) != showRecords || v.KeyFreshness.Answers(time.Now()) {
					t.Errorf("at the end it knows the record: %t, answers: %t", v.knows(shown), v.KeyFreshness.Answers(time.Now()))
				}
			})
		})
	}
}

// TestWatcher_ListsIfARestartMayBeHidden by a proxy that delays requests, or because the process was suspended.
func TestWatcher_ListsIfARestartMayBeHidden(t *testing.T) {
	for name, tc := range map[string]struct {
		accept, last time.Duration
		lists        int32
	}{
		"at its time":                  {0, 40 * time.Second, 1},
		"a little late":                {2 * time.Second, 42 * time.Second, 1},
		"accepted late":                {6 * time.Second, 40 * time.Second, 2},
		"ended long after its time":    {0, 46 * time.Second, 2},
		"ended a little before":        {0, 39 * time.Second, 1},
		"ended long before its time":   {0, 20 * time.Second, 2},
		"ended as soon as it was open": {0, 0, 2},
	} {
		var once sync.Once
		var lists atomic.Int32
		transport := verifytest.Transport{Handler: func(w http.ResponseWriter, r *http.Request) {
			if verifytest.IsList(r) {
				lists.Add(1)
				verifytest.Accept(w, verifytest.End("6"))
				return
			}
			late := false
			once.Do(func() { late = true })
			if !late {
				verifytest.Accept(w)
				verifytest.KeepOpen(r)
				return
			}
			verifytest.Hold(r, tc.accept)
			verifytest.Accept(w)
			verifytest.Hold(r, tc.last)
		}}
		inBubble(t, denyAfter2m, transport, func(t *testing.T, _ *Feed) {
			time.Sleep(5 * time.Minute)
			if n := lists.Load(); n != tc.lists {
				t.Errorf("%s: %d lists, want %d", name, n, tc.lists)
			}
		})
	}
}

// TestWatcher_ListsAgainIfAListWasInterrupted by a suspension of the process, in which the API server may have been restored from a backup: the
// end of the list has waited in buffers, and the API server accepts its version although it has other records.
func TestWatcher_ListsAgainIfAListWasInterrupted(t *testing.T) {
	for _, stopped := range []time.Duration{continuity.Slack + time.Second, 25 * time.Second} {
		var lists atomic.Int32
		revoked := verifytest.Mint(t)
		transport := verifytest.Transport{Handler: func(w http.ResponseWriter, r *http.Request) {
			switch {
			case verifytest.IsList(r) && lists.Add(1) == 1:
				verifytest.Accept(w, verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(revoked, verifytest.Created(0, "1")), "5"))+"\n")
				verifytest.Hold(r, stopped)
				verifytest.Accept(w, verifytest.End("6"))
			case verifytest.IsList(r):
				verifytest.Accept(w, verifytest.End("6"))
			default:
				verifytest.Accept(w)
				verifytest.KeepOpen(r)
			}
		}}
		inBubble(t, denyAfter2m, transport, func(t *testing.T, v *Feed) {
			v.pulse.begin()
			time.Sleep(stopped)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			v.pulse.beat()
			go v.pulse.run(ctx)
			time.Sleep(5 * time.Minute)
			if n := lists.Load(); n != 2 || v.knows(revoked) || !v.KeyFreshness.Ready(time.Now()) {
				t.Errorf("stopped for %s: %d lists, it knows the record: %t, ready: %t", stopped, n, v.knows(revoked), v.KeyFreshness.Ready(time.Now()))
			}
		})
	}
}

func TestRelistDelay_IsSpreadAndBounded(t *testing.T) {
	for _, bound := range []time.Duration{minStaleness, 12 * time.Second, 2 * time.Minute, time.Hour} {
		span := watchSpan(bound)
		var least, most time.Duration
		for failures := range 100 {
			least, most = time.Hour, 0
			for range 1000 {
				delay := relistDelay(failures, span)
				least, most = min(least, delay), max(most, delay)
			}
			if least < 100*time.Millisecond || most < 2*least || most > time.Second<<min(failures, 10) {
				t.Fatalf("%d failures: %s to %s", failures, least, most)
			}
		}
		// The verifier stays ready during an idle watch, a back-off and a list.
		if span+most > min(bound, lagging)*3/4 {
			t.Errorf("--max-staleness=%s: a delay of %s after a watch of %s", bound, most, span)
		}
	}
}

// TestWatcher_OfSecretsListsAfterALostConnection covers that HMAC secrets have the same watcher.
func TestWatcher_OfSecretsListsAfterALostConnection(t *testing.T) {
	var lists atomic.Int32
	first, second := verifytest.Replica("cb_1", nil), verifytest.Replica("cb_2", nil)
	for _, secret := range []*metav1.TypeMeta{&first.TypeMeta, &second.TypeMeta} {
		secret.APIVersion, secret.Kind = "v1", "Secret"
	}
	bookmark := verifytest.Replica("", nil)
	bookmark.TypeMeta, bookmark.Data = first.TypeMeta, nil
	bookmark.ResourceVersion, bookmark.Annotations = "6", map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	transport := verifytest.Transport{Handler: func(w http.ResponseWriter, r *http.Request) {
		switch {
		case verifytest.IsList(r) && lists.Add(1) == 1:
			verifytest.Accept(w, verifytest.Event("ADDED", first), verifytest.Event("BOOKMARK", bookmark))
		case verifytest.IsList(r):
			verifytest.Accept(w, verifytest.Event("ADDED", second), verifytest.Event("BOOKMARK", bookmark))
		case lists.Load() == 1:
			verifytest.Accept(w)
			verifytest.BreakOff(w)
		default:
			verifytest.Accept(w)
			verifytest.KeepOpen(r)
		}
	}}
	secretsInBubble(t, transport, func(t *testing.T, v *Feed) {
		time.Sleep(time.Minute)
		if n := lists.Load(); n != 2 || v.vouchesFor("cb_1") || !v.vouchesFor("cb_2") {
			t.Errorf("after %d lists it knows %d chatbots", n, v.Chatbots.Len())
		}
	})
}
