// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// vouching is one verifier's vouchers in a cluster that others use as well.
func vouching(cluster *fake.Clientset, clock *fakeClock) *vouchers {
	return &vouchers{
		leases: cluster.CoordinationV1(), holder: "verifier-1", namespace: "dgbot-system", interval: 30 * time.Second, now: clock.now,
		complete: map[string]time.Time{},
	}
}

func leaseOf(t *testing.T, cluster *fake.Clientset) *coordinationv1.Lease {
	t.Helper()
	lease, err := cluster.CoordinationV1().Leases("dgbot-system").Get(t.Context(), "dgbot-usage-staging", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func TestTrackingBeginsAnewWhereUsesMayHaveBeenMissed(t *testing.T) {
	// Each case begins with a Lease that was renewed now and tracks since an hour ago.
	for name, tc := range map[string]struct {
		before  func(*coordinationv1.Lease)
		after   time.Duration
		others  bool // another verifier renews all the time
		ownGap  time.Duration
		restart bool
	}{
		"renewed in time":                        {after: 30 * time.Second},
		"renewed at the last moment":             {after: 10 * time.Minute},
		"nobody renewed it":                      {after: 10*time.Minute + time.Second, restart: true},
		"others renewed it, this one reported":   {after: time.Hour, others: true, ownGap: time.Minute},
		"others renewed it, this one was silent": {after: time.Hour, others: true, ownGap: time.Hour, restart: true},
		"never renewed":                          {before: func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }, restart: true},
		"no annotation":                          {before: func(l *coordinationv1.Lease) { l.Annotations = nil }, restart: true},
		"an annotation that is no time":          {before: func(l *coordinationv1.Lease) { l.Annotations[v1alpha1.TrackedSinceAnnotation] = "yesterday" }, restart: true},
		"an annotation in the future": {before: func(l *coordinationv1.Lease) {
			l.Annotations[v1alpha1.TrackedSinceAnnotation] = "2099-01-01T00:00:00Z"
		}, restart: true},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			since := clock.now().Add(-time.Hour).UTC().Format(time.RFC3339)
			lease := &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: "dgbot-system", Name: "dgbot-usage-staging", Annotations: map[string]string{v1alpha1.TrackedSinceAnnotation: since}},
				Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: clock.now()}},
			}
			if tc.before != nil {
				tc.before(lease)
			}
			if tc.others {
				lease.Spec.RenewTime.Time = clock.now().Add(tc.after)
			}
			cluster := fake.NewClientset(lease)
			v := vouching(cluster, clock)
			clock.pass(tc.after - tc.ownGap)
			v.serve([]string{"staging"})
			clock.pass(tc.ownGap)
			if err := v.renew(t.Context(), "staging"); err != nil {
				t.Fatal(err)
			}
			if tc.restart {
				since = clock.now().UTC().Format(time.RFC3339)
			}
			got := leaseOf(t, cluster)
			if got.Annotations[v1alpha1.TrackedSinceAnnotation] != since || !got.Spec.RenewTime.Equal(&metav1.MicroTime{Time: clock.now()}) || *got.Spec.LeaseDurationSeconds != 60 {
				t.Errorf("tracked since %v, want %s; %+v", got.Annotations, since, got.Spec)
			}
		})
	}
}

func TestTheFirstVerifierCreatesTheLease(t *testing.T) {
	clock, cluster := newClock(), fake.NewClientset()
	v := vouching(cluster, clock)
	v.serve([]string{"staging"})
	began := clock.now().UTC().Format(time.RFC3339)
	for range 3 {
		if err := v.renew(t.Context(), "staging"); err != nil {
			t.Fatal(err)
		}
		clock.pass(30 * time.Second)
	}
	if got := leaseOf(t, cluster); got.Annotations[v1alpha1.TrackedSinceAnnotation] != began || *got.Spec.HolderIdentity != "verifier-1" {
		t.Errorf("%v, held by %s; want since %s", got.Annotations, *got.Spec.HolderIdentity, began)
	}
}

func TestOfTwoVerifiersAtOnceOneVouches(t *testing.T) {
	clock, cluster := newClock(), fake.NewClientset()
	v := vouching(cluster, clock)
	v.serve([]string{"staging"})
	first := v.complete["staging"]
	cluster.PrependReactor("create", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewAlreadyExists(coordinationv1.Resource("leases"), "dgbot-usage-staging")
	})
	clock.pass(time.Minute)
	if err := v.renew(t.Context(), "staging"); err != nil || !v.complete["staging"].Equal(first) {
		t.Errorf("%v; complete until %s, want %s", err, v.complete["staging"], first)
	}
}

func TestNobodyVouchesForUsesThatWereNotReported(t *testing.T) {
	cluster := fake.NewClientset()
	r := reporting(t, 1, func(w http.ResponseWriter, _, _ string) {
		refuse(http.StatusForbidden, metav1.StatusReasonForbidden)(w, nil)
	})
	r.vouchers = vouching(cluster, newClock())
	r.flush(t.Context())
	if got, err := cluster.CoordinationV1().Leases("dgbot-system").List(t.Context(), metav1.ListOptions{}); err != nil || len(got.Items) != 0 {
		t.Errorf("vouched: %v, %v", got.Items, err)
	}
	r.index.sweep(0, 2) // the record is gone, and with it what was to be reported
	r.environments = []string{"staging"}
	r.flush(t.Context())
	leaseOf(t, cluster)
}
