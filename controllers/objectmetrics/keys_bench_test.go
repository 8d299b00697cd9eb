// SPDX-License-Identifier: Apache-2.0

package objectmetrics

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// shelf is a reader that has its objects at hand, as a cache has.
type shelf struct {
	keys    []v1alpha1.DGbotAPIKey
	records []v1alpha1.DGbotAPIKeyRecord
}

func (s *shelf) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	panic("nothing is got one by one")
}

func (s *shelf) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.DGbotAPIKeyList:
		list.Items = s.keys
	case *v1alpha1.DGbotAPIKeyRecordList:
		list.Items = s.records
	}
	return nil
}

// stocked returns n keys as they are after a rotation, with three records each.
func stocked(n int, now time.Time) *shelf {
	s := &shelf{}
	later := &metav1.Time{Time: now.Add(time.Hour)}
	for i := range n {
		key := v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("team-%d", i%100), Name: fmt.Sprintf("key-%d", i), UID: types.UID(fmt.Sprintf("uid-%d", i))},
			Spec:       v1alpha1.DGbotAPIKeySpec{Environment: "production", ExpiresAt: later},
		}
		for revision := range int64(3) {
			record := steps.NewRecord(&key, steps.IssueRevision{
				RecordName: revisions.RecordName(key.Name, key.UID, revision), Revision: revision, Cause: v1alpha1.CauseSchedule,
				IssuedAt: metav1.Time{Time: now}, NotAfter: later,
			}, "abcdefABCDEF", "")
			s.records = append(s.records, record)
			key.Status.Current = &v1alpha1.RevisionStatus{Revision: revision, RecordName: record.Name, IssuedAt: record.Spec.IssuedAt, NotAfter: later}
		}
		key.Status.NextRotationAt = later
		key.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.IssuedReason}}
		s.keys = append(s.keys, key)
	}
	return s
}

// BenchmarkScrape is what a scrape costs by key: the collector alone, and up to the text that Prometheus gets.
func BenchmarkScrape(b *testing.B) {
	now := time.Now()
	const keys = 10_000
	collector := &Collector{Reader: stocked(keys, now), Clock: clocktesting.NewFakePassiveClock(now)}
	byKey := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
	}
	b.Run("collect", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			series := make(chan prometheus.Metric, 1000)
			go func() {
				collector.Collect(series)
				close(series)
			}()
			n := 0
			for range series {
				n++
			}
			if n < keys {
				b.Fatalf("%d series of %d keys", n, keys)
			}
		}
		byKey(b)
	})
	b.Run("serve", func(b *testing.B) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(collector)
		handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
		b.ReportAllocs()
		for b.Loop() {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(b.Context(), "GET", "/metrics", nil))
			b.ReportMetric(float64(answer.Body.Len())/keys, "bytes/key")
		}
		byKey(b)
	})
}
