// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// apiServer answers one request after the other from a script. It does what API servers do rarely; test/verifier tests with a
// real one.
type apiServer struct {
	mutex  sync.Mutex
	script []func(w http.ResponseWriter, r *http.Request)
	asked  []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mutex.Lock()
	a.asked = append(a.asked, r.URL.Query().Encode())
	next := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	if len(a.script) > 0 {
		next, a.script = a.script[0], a.script[1:]
	}
	a.mutex.Unlock()
	next(w, r)
}

func (a *apiServer) questions() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return append([]string{}, a.asked...)
}

func page(continuation string, records ...*v1alpha1.DGbotAPIKeyRecord) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		list := &v1alpha1.DGbotAPIKeyRecordList{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "DGbotAPIKeyRecordList"}}
		list.ResourceVersion, list.Continue = "7", continuation
		for _, record := range records {
			list.Items = append(list.Items, *record)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	}
}

// follow runs a verifier against a script until a condition holds.
func follow(t *testing.T, script []func(http.ResponseWriter, *http.Request), until func(*Feed) bool) (*Feed, *apiServer) {
	t.Helper()
	a := &apiServer{script: script}
	server := httptest.NewServer(a)
	client, err := client.ForRecords(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	v := New(client, client, Options{Limits: index.Limits{Environments: []string{"staging"}}, Identity: true, Bound: denyAfter2m}, prometheus.NewRegistry(), logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { v.watchers[0].run(ctx) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
		server.CloseClientConnections()
		server.Close()
	})
	eventually(t, a, func() bool { return until(v) })
	return v, a
}

func eventually(t *testing.T, a *apiServer, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("it did not come to that; asked: %q", a.questions())
	}
}

func (f *Feed) knows(key apikey.Key) bool {
	presented, _ := index.Read(key.Reveal())
	return f.Keys.Find(&presented).Check(&presented, verifytest.Epoch) == ""
}

// vouchesFor reports whether the HMAC secret of a chatbot is known.
func (f *Feed) vouchesFor(chatbotID string) bool {
	return f.Chatbots.CheckPlain(chatbotID, "u-1", identity.SignPlain(verifytest.Secret, "u-1"), verifytest.Epoch) == ""
}

func TestWatcher_RemovesARecordDeletedWithoutAWatch(t *testing.T) {
	kept, deleted := verifytest.Mint(t), verifytest.Mint(t)
	a, b := verifytest.Typed(verifytest.Record(kept, verifytest.Created(0, "1")), "5"), verifytest.Typed(verifytest.Record(deleted, verifytest.Created(0, "2")), "6")
	var both atomic.Bool
	v, server := follow(t, []func(http.ResponseWriter, *http.Request){
		verifytest.Events(verifytest.Event("ADDED", a), verifytest.Event("ADDED", b), verifytest.End("6")),
		func(w http.ResponseWriter, r *http.Request) {
			both.Store(true)
			verifytest.Reject(410, metav1.StatusReasonExpired)(w, r)
		},
		verifytest.Events(verifytest.Event("ADDED", a), verifytest.End("9")),
	}, func(v *Feed) bool { return both.Load() && !v.knows(deleted) })
	if !v.knows(kept) {
		t.Error("the record that was shown again is forgotten")
	}
	asked := server.questions()
	if want := "fieldSelector=spec.environment%3Dstaging"; !strings.Contains(asked[0], want) || !strings.Contains(asked[0], "sendInitialEvents=true") {
		t.Errorf("the list was asked for with %s", asked[0])
	}
	if !strings.Contains(asked[1], "resourceVersion=6") || strings.Contains(asked[1], "sendInitialEvents") || !strings.Contains(asked[1], "timeoutSeconds=40") {
		t.Errorf("the watch was asked for with %s", asked[1])
	}
}

// TestWatcher_EndsTheListAtABookmarkOnly covers that a user with write access to one record cannot hide the records after it.
func TestWatcher_EndsTheListAtABookmarkOnly(t *testing.T) {
	marked, later := verifytest.Mint(t), verifytest.Mint(t)
	mark := func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	v, _ := follow(t, []func(http.ResponseWriter, *http.Request){
		verifytest.Events(verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(marked, verifytest.Created(0, "1"), mark), "5")), verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(later, verifytest.Created(0, "2")), "6")), verifytest.End("6")),
	}, func(v *Feed) bool { return v.KeyFreshness.Synced() })
	if !v.knows(marked) || !v.knows(later) {
		t.Error("a record is missing after the list")
	}
}

// TestWatcher_ListsInPagesWithoutStreaming: a feature gate can disable streaming, and does in some releases.
func TestWatcher_ListsInPagesWithoutStreaming(t *testing.T) {
	first, second := verifytest.Mint(t), verifytest.Mint(t)
	_, server := follow(t, []func(http.ResponseWriter, *http.Request){
		verifytest.Reject(422, metav1.StatusReasonInvalid),
		page("more", verifytest.Record(first, verifytest.Created(0, "1"))),
		page("", verifytest.Record(second, verifytest.Created(0, "2"))),
	}, func(v *Feed) bool { return v.knows(first) && v.knows(second) && v.KeyFreshness.Synced() })
	eventually(t, server, func() bool { return len(server.questions()) == 4 })
	asked := server.questions()
	if !strings.Contains(asked[2], "continue=more") || !strings.Contains(asked[1], "limit=500") || !strings.Contains(asked[3], "resourceVersion=7") {
		t.Errorf("asked: %q", asked)
	}
}

// TestWatcher_IsNotSyncedByABrokenList, because the keys of the missing records would be rejected.
func TestWatcher_IsNotSyncedByABrokenList(t *testing.T) {
	key := verifytest.Mint(t)
	record := verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(key, verifytest.Created(0, types.UID("1"))), "5"))
	seen := make(chan bool, 1)
	follow(t, []func(http.ResponseWriter, *http.Request){
		verifytest.Events(record),
		func(w http.ResponseWriter, r *http.Request) {
			seen <- true
			verifytest.Events(record, verifytest.End("6"))(w, r)
		},
	}, func(v *Feed) bool {
		synced := v.KeyFreshness.Synced()
		select {
		case <-seen:
			return true
		default:
			if synced {
				t.Error("it is synced by a list that broke off")
			}
			return false
		}
	})
}
