// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestReporter_WritesOncePerResolutionUnderLoad simulates 100,000 verifications per second of 1,000 keys, for a little longer than the
// resolution.
func TestReporter_WritesOncePerResolutionUnderLoad(t *testing.T) {
	const records, perSecond = 1000, 100
	var writes atomic.Int64
	r := reporting(t, records, func(w http.ResponseWriter, _, body string) {
		writes.Add(1)
		var record v1alpha1.DGbotAPIKeyRecord
		_ = json.Unmarshal([]byte(body), &record)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(verifytest.Typed(&record, "8"))
	})
	var uses []*index.Use
	for e := range r.keys.All {
		uses = append(uses, e.Use())
	}
	const flushEvery = 30
	for second := range int((r.options.Resolution + time.Minute) / time.Second) {
		now := verifytest.Epoch.Add(time.Duration(second) * time.Second)
		for _, u := range uses {
			for range perSecond {
				u.Note(now)
			}
		}
		if second%flushEvery == 0 {
			r.flush(t.Context())
		}
		switch n := writes.Load(); {
		case now.Sub(verifytest.Epoch) < r.options.Resolution && n > records:
			t.Fatalf("%d writes for %d keys within %s", n, records, now.Sub(verifytest.Epoch))
		case n > 2*records:
			t.Fatalf("%d writes for %d keys within %s", n, records, now.Sub(verifytest.Epoch))
		}
	}
	if n := writes.Load(); n != 2*records {
		t.Errorf("%d writes, want the first and one after the resolution of each of %d keys", n, records)
	}
}

func TestReporter_DelaysNoVerification(t *testing.T) {
	asked, hold := make(chan struct{}), make(chan struct{})
	r := reporting(t, 10, func(http.ResponseWriter, string, string) {
		asked <- struct{}{}
		<-hold
	})
	key := verifytest.Mint(t)
	if err := r.keys.Put(verifytest.Record(key), 0, 1); err != nil {
		t.Fatal(err)
	}
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		r.flush(t.Context())
	}()
	<-asked // the API server has a report, and says nothing
	presented, _ := index.Read(key.Reveal())
	for range 1000 {
		e := r.keys.Find(&presented)
		if e.Check(&presented, verifytest.Epoch) != "" {
			t.Fatal("a good key is refused")
		}
		e.Use().Note(verifytest.Epoch)
	}
	// A change of a record, such as a revocation, does not wait for a report either.
	if err := r.keys.Put(verifytest.Record(key, func(record *v1alpha1.DGbotAPIKeyRecord) { record.Spec.State = v1alpha1.StateRevoked }), 0, 2); err != nil {
		t.Fatal(err)
	}
	if reason := r.keys.Find(&presented).Check(&presented, verifytest.Epoch); reason != index.Revoked {
		t.Error("a revoked key is accepted")
	}
	select {
	case <-flushed:
		t.Error("the flush is over although no report was answered")
	default:
	}
	go func() {
		for range asked {
		}
	}()
	close(hold)
	<-flushed
	close(asked)
}
