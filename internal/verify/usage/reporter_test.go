// SPDX-License-Identifier: Apache-2.0

package usage

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
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// reporting returns a Reporter of a number of used keys, whose records change after the use. answer answers its requests.
func reporting(t *testing.T, records int, answer func(w http.ResponseWriter, path, body string), after ...func(*v1alpha1.DGbotAPIKeyRecord)) *Reporter {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, r.Method+" "+r.URL.Path, string(body))
	}))
	t.Cleanup(server.Close)
	client, err := client.ForRecords(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	keys := &index.Keys{}
	for i := range records {
		key := verifytest.Mint(t)
		record := verifytest.Record(key, verifytest.Created(0, types.UID(fmt.Sprintf("7771c11c-2610-41ab-a832-%012x", i))))
		record.Name = fmt.Sprintf("crm-r%d", i)
		if err := keys.Put(record, 0, 1); err != nil {
			t.Fatal(err)
		}
		presented, _ := index.Read(key.Reveal())
		used := keys.Find(&presented)
		used.Use().Note(verifytest.Epoch)
		for _, do := range after {
			do(record)
		}
		if err := keys.Put(record, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	r := New(keys, client, Options{FlushInterval: time.Second, Resolution: 10 * time.Minute}, prometheus.NewRegistry(), logr.Discard())
	r.limit, r.now = flowcontrol.NewFakeAlwaysRateLimiter(), func() time.Time { return verifytest.Epoch }
	return r
}

func TestReporter_WritesAUse(t *testing.T) {
	var asked []string
	r := reporting(t, 1, func(w http.ResponseWriter, path, body string) {
		asked = append(asked, path+" "+body)
		var record v1alpha1.DGbotAPIKeyRecord
		_ = json.Unmarshal([]byte(body), &record)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(verifytest.Typed(&record, "8"))
	})
	r.flush(t.Context())
	r.flush(t.Context())
	want := `PATCH /apis/keys.dgbot.io/v1alpha1/namespaces/support/dgbotapikeyrecords/crm-r0/status ` +
		`{"status":{"firstUsedAt":"2026-11-24T10:00:00Z","lastUsedAt":"2026-11-24T10:00:00Z","resolution":"10m0s"}}`
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("written:\n%s\nwant\n%s", got, want)
	}
	if n := testutil.ToFloat64(r.reports[written]); n != 1 {
		t.Errorf("%v writes are counted", n)
	}
}

func TestReporter_WaitsForTheNextFlushAfterFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		counts outcome
		writes float64
	}{
		"refused":        {verifytest.Reject(http.StatusForbidden, metav1.StatusReasonForbidden), failed, maxReportFailures},
		"out of order":   {verifytest.Reject(http.StatusInternalServerError, metav1.StatusReasonInternalError), failed, maxReportFailures},
		"record is gone": {verifytest.Reject(http.StatusNotFound, metav1.StatusReasonNotFound), outdated, 20},
		"reported later": {verifytest.Reject(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid), outdated, 20},
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
			if counted := testutil.ToFloat64(r.reports[tc.counts]); n != tc.writes || counted != tc.writes {
				t.Errorf("%v writes, %v counted as %s; want %v", n, counted, tc.counts, tc.writes)
			}
		})
	}
}
