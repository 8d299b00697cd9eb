// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
)

func TestAUseIsReportedAtOnceAndThenOncePerResolution(t *testing.T) {
	stamp := func(after time.Duration) *metav1.Time { return &metav1.Time{Time: epoch.Add(after)} }
	for name, tc := range map[string]struct {
		uses        []time.Duration
		known       v1alpha1.DGbotAPIKeyRecordStatus
		first, last *metav1.Time
	}{
		"never used":                   {},
		"the first":                    {uses: []time.Duration{time.Second}, first: stamp(time.Second), last: stamp(time.Second)},
		"several at first":             {uses: []time.Duration{time.Second, time.Minute}, first: stamp(time.Second), last: stamp(time.Minute)},
		"fractions of a second":        {uses: []time.Duration{1900 * time.Millisecond}, first: stamp(time.Second), last: stamp(time.Second)},
		"a clock that goes back":       {uses: []time.Duration{time.Minute, time.Second}, first: stamp(time.Minute), last: stamp(time.Minute)},
		"within the resolution":        {uses: []time.Duration{599 * time.Second}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(0), LastUsedAt: stamp(0)}},
		"after the resolution":         {uses: []time.Duration{600 * time.Second}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(0), LastUsedAt: stamp(0)}, last: stamp(600 * time.Second)},
		"an earlier first":             {uses: []time.Duration{0, 20 * time.Minute}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(time.Minute), LastUsedAt: stamp(time.Minute)}, first: stamp(0), last: stamp(20 * time.Minute)},
		"another verifier was later":   {uses: []time.Duration{time.Minute}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(0), LastUsedAt: stamp(time.Hour)}},
		"another verifier's clock far": {uses: []time.Duration{time.Minute}, known: v1alpha1.DGbotAPIKeyRecordStatus{LastUsedAt: &metav1.Time{Time: time.Date(8999, 1, 1, 0, 0, 0, 0, time.UTC)}}},
	} {
		t.Run(name, func(t *testing.T) {
			u := &use{}
			u.reported(&tc.known)
			for _, after := range tc.uses {
				u.note(epoch.Add(after))
			}
			first, last, ok := u.due(10 * time.Minute)
			if ok != (tc.last != nil) || ok && !last.Equal(tc.last.Time) || (tc.first != nil) == first.IsZero() || tc.first != nil && !first.Equal(tc.first.Time) {
				t.Errorf("due: %v, first %s, last %s", ok, first, last)
			}
		})
	}
}

func TestUsesSurviveAChangeOfTheRecordAndAreNoOtherRecords(t *testing.T) {
	x, key := &Index{}, mint(t)
	put := func(change ...func(*v1alpha1.DGbotAPIKeyRecord)) *entry {
		_ = x.put(recordOf(key, change...), 0, 1)
		return x.find(idOf(key))
	}
	before := put()
	// Whoever verifies at this moment holds the entry that is replaced in the next.
	after := put(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Label = "another" })
	before.use.note(epoch)
	if _, last, ok := after.use.due(time.Minute); !ok || !last.Equal(epoch) {
		t.Errorf("the use is lost: %v, %s", ok, last)
	}
	duplicate := put(created(-time.Hour, "4a1b0c11-2610-41ab-a832-a339b9abcf1d"))
	if _, _, ok := duplicate.use.due(time.Minute); ok || duplicate.use == after.use {
		t.Error("another record with the key ID is taken for used")
	}
}

func TestOnlySuccessfulVerificationsCount(t *testing.T) {
	b := newBench(t)
	used := func() bool {
		_, _, ok := b.index.find(*(*keyID)([]byte(strings.Split(b.key, "_")[2]))).use.due(time.Minute)
		return ok
	}
	b.do("/check", request{header: bearerOf(b.key[:len(b.key)-1] + "~")})
	b.do("/v1/verify", request{header: bearerOf(b.key), scopes: []string{"not.granted"}})
	b.do("/v1/verify", request{header: bearerOf(b.key), scopes: []string{"NO SCOPE"}})
	if used() {
		t.Error("a refusal counts as a use")
	}
	b.do("/check", request{header: bearerOf(b.key)})
	if !used() {
		t.Error("a successful verification does not count as a use")
	}
}

func idOf(key apikey.Key) keyID { return *(*keyID)([]byte(key.ID())) }

// reporting is a reporter of so many used keys, beside an API server that answers as told.
func reporting(t *testing.T, records int, answer func(w http.ResponseWriter, path, body string)) *reporter {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, r.Method+" "+r.URL.Path, string(body))
	}))
	t.Cleanup(server.Close)
	client, err := newRecordClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := assemble(client, client, Options{Bound: denyAfter2m}, logr.Discard())
	for i := range records {
		key := mint(t)
		record := recordOf(key, created(0, types.UID(fmt.Sprintf("7771c11c-2610-41ab-a832-%012x", i))))
		record.Name = fmt.Sprintf("crm-r%d", i)
		if err := v.index.put(record, 0, 1); err != nil {
			t.Fatal(err)
		}
		v.index.find(idOf(key)).use.note(epoch)
	}
	return &reporter{
		index: v.index, client: client, metrics: v.metrics, log: logr.Discard(), interval: time.Second, resolution: 10 * time.Minute,
		limit: flowcontrol.NewFakeAlwaysRateLimiter(), now: func() time.Time { return epoch },
	}
}

func TestWhatIsWrittenAboutAUse(t *testing.T) {
	var asked []string
	r := reporting(t, 1, func(w http.ResponseWriter, path, body string) {
		asked = append(asked, path+" "+body)
		var record v1alpha1.DGbotAPIKeyRecord
		_ = json.Unmarshal([]byte(body), &record)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(typed(&record, "8"))
	})
	r.flush(t.Context())
	r.flush(t.Context())
	want := `PATCH /apis/keys.dgbot.io/v1alpha1/namespaces/support/dgbotapikeyrecords/crm-r0/status ` +
		`{"status":{"firstUsedAt":"2026-11-24T10:00:00Z","lastUsedAt":"2026-11-24T10:00:00Z","resolution":"10m0s"}}`
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("written:\n%s\nwant\n%s", got, want)
	}
	if n := testutil.ToFloat64(r.metrics.reports[written]); n != 1 {
		t.Errorf("%v writes are counted", n)
	}
}

func TestAnAPIServerThatFailsIsLeftAloneUntilTheNextFlush(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		counts outcome
		writes float64
	}{
		"refused":         {refuse(http.StatusForbidden, metav1.StatusReasonForbidden), failed, maxReportFailures},
		"out of order":    {refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError), failed, maxReportFailures},
		"record is gone":  {refuse(http.StatusNotFound, metav1.StatusReasonNotFound), outdated, 20},
		"somebody's last": {refuse(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid), outdated, 20},
	} {
		t.Run(name, func(t *testing.T) {
			var mutex sync.Mutex
			n := 0.0
			r := reporting(t, 20, func(w http.ResponseWriter, _, _ string) {
				mutex.Lock()
				defer mutex.Unlock()
				n++
				tc.answer(w, nil)
			})
			r.flush(t.Context())
			if counted := testutil.ToFloat64(r.metrics.reports[tc.counts]); n != tc.writes || counted != tc.writes {
				t.Errorf("%v writes, %v counted as %s; want %v", n, counted, tc.counts, tc.writes)
			}
		})
	}
}
