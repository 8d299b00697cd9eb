// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/usage"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestVerifier_AnswersByTheFreshnessOfItsFeed follows a verifier from its start until the API server is back after an outage.
func TestVerifier_AnswersByTheFreshnessOfItsFeed(t *testing.T) {
	key := verifytest.Mint(t)
	var away, forbidden atomic.Bool
	transport := verifytest.Transport{
		Fail: func() error {
			if away.Load() {
				return verifytest.ErrConnectionRefused
			}
			return nil
		},
		Handler: func(w http.ResponseWriter, r *http.Request) {
			switch {
			case forbidden.Load() && strings.HasSuffix(r.URL.Path, "/secrets"):
				w.WriteHeader(http.StatusForbidden)
			case !verifytest.IsList(r):
				verifytest.Accept(w)
				verifytest.KeepOpen(r)
			case strings.HasSuffix(r.URL.Path, "/secrets"):
				verifytest.Accept(w, endOfSecrets())
			default:
				verifytest.Accept(w, verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(key), "5")), verifytest.End("6"))
			}
		},
	}
	synctest.Test(t, func(t *testing.T) {
		v, err := New(&rest.Config{Host: "http://api", Transport: transport}, Options{Bound: feed.Bound{MaxStaleness: 2 * time.Minute}}, logr.Discard())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, step := range []struct {
			when                    string
			act                     func()
			pass                    time.Duration
			readyz, check, identity int
			condition               string
		}{
			{"before the start", func() {}, 0, 503, 503, 503, "waiting for the first complete list of records"},
			{"after the list", func() { running.Go(func() { v.sources.first().Feed.Run(ctx) }) }, 0, 200, 200, 401, "records are up to date"},
			{"89 s after the last answer", func() { away.Store(true) }, 89 * time.Second, 200, 200, 401, "records are up to date"},
			{"91 s after it", func() {}, 2 * time.Second, 503, 200, 401, "not ready"},
			{"121 s after it", func() {}, 30 * time.Second, 503, 503, 503, "requests are denied"},
			{"after the API server is back", func() { away.Store(false) }, 15 * time.Second, 200, 200, 401, "records are up to date"},
			{"without access to Secrets", func() { forbidden.Store(true) }, 3 * time.Minute, 200, 200, 503, "records are up to date"},
		} {
			step.act()
			time.Sleep(step.pass)
			synctest.Wait()
			ready := ask(v, http.MethodGet, "/readyz", "", "")
			check := ask(v, http.MethodGet, "/check", key.Reveal(), "")
			identity := ask(v, http.MethodPost, "/v1/identity/verify", "", `{"token":"x"}`)
			if ready.Code != step.readyz || check.Code != step.check || identity.Code != step.identity || !strings.Contains(ready.Body.String(), step.condition) {
				t.Errorf("%s: /readyz %d %q, /check %d, /v1/identity/verify %d; want %d %q, %d, %d", step.when,
					ready.Code, ready.Body, check.Code, identity.Code, step.readyz, step.condition, step.check, step.identity)
			}
		}
		cancel()
		running.Wait()
	})
}

// endOfSecrets is the bookmark after the last Secret of a streamed list.
func endOfSecrets() string {
	bookmark := verifytest.Replica("", nil)
	bookmark.TypeMeta, bookmark.Data = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, nil
	bookmark.ResourceVersion, bookmark.Annotations = "6", map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	return verifytest.Event("BOOKMARK", bookmark)
}

func ask(v *Verifier, method, path, key, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("X-API-Key", key)
	answer := httptest.NewRecorder()
	v.server.Handler().ServeHTTP(answer, request)
	return answer
}

func TestOptions_BoundTheSizeOfARegistration(t *testing.T) {
	for watches, want := range map[int]bool{1: true, 400: true, 2000: false} {
		options := Options{
			Bound: feed.Bound{MaxStaleness: time.Minute}, Register: true, Environments: []string{"production"},
			Usage: usage.Options{FlushInterval: time.Second, Resolution: time.Second},
		}
		for i := range watches {
			options.Namespaces = append(options.Namespaces, "namespace-"+strconv.Itoa(i))
		}
		if err := options.Validate(); (err == nil) != want {
			t.Errorf("%d watches: %v", watches, err)
		}
		options.Register = false
		if err := options.Validate(); err != nil {
			t.Errorf("%d watches, not registered: %v", watches, err)
		}
	}
}
