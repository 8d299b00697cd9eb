// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/registration"
)

func TestWhyWaiting_NamesARequestInTheFuture(t *testing.T) {
	key, now := &v1alpha1.DGbotAPIKey{}, *clitest.At(0)
	key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: clitest.At(time.Hour).UTC().Format(time.RFC3339)}
	key.Status.Conditions = []metav1.Condition{{Type: v1alpha1.RequestPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.RevocationPendingReason, Message: "later"}}
	if got := WhyWaiting(key, now); got != "RevocationPending: later" {
		t.Errorf("why it waits: %q", got)
	}
	key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation] = clitest.At(0).UTC().Format(time.RFC3339)
	if got := WhyWaiting(key, now); got != "waiting for the operator" {
		t.Errorf("with a revocation that replaces the one in the future: %q", got)
	}
}

// TestProgress_LeavesOutWhoHasFollowed, and has a bound only if all others are silent.
func TestProgress_LeavesOutWhoHasFollowed(t *testing.T) {
	lease := func(name, observed string, silence time.Duration, change ...func(*registration.Registration)) coordinationv1.Lease {
		l := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
		r := registration.Registration{Observed: map[registration.Watch]string{{}: observed}, MaxStaleness: 2 * time.Minute}
		for _, do := range change {
			do(&r)
		}
		r.Annotate(&l, clitest.Now)
		l.Spec.RenewTime = &metav1.MicroTime{Time: clitest.Now.Add(-silence)}
		return l
	}
	serves := func(r *registration.Registration) { r.Serves = true }
	hasStopped := func(r *registration.Registration) { r.Stopped = true }
	bound := clitest.Now.Add(2*time.Minute + 10*time.Second)
	for name, tc := range map[string]struct {
		leases  []coordinationv1.Lease
		pending []string
		bound   time.Time
	}{
		"no Leases":        {nil, []string{"a", "b"}, time.Time{}},
		"all follow":       {[]coordinationv1.Lease{lease("a", "100", 0), lease("b", "101", 0)}, nil, time.Time{}},
		"one is silent":    {[]coordinationv1.Lease{lease("a", "100", 0), lease("b", "99", 20*time.Second)}, []string{"b"}, bound},
		"both are silent":  {[]coordinationv1.Lease{lease("a", "9", time.Minute), lease("b", "99", 20*time.Second)}, []string{"a", "b"}, bound},
		"one renews":       {[]coordinationv1.Lease{lease("a", "9", time.Second), lease("b", "99", 20*time.Second)}, []string{"a", "b"}, time.Time{}},
		"one serves":       {[]coordinationv1.Lease{lease("a", "100", 0), lease("b", "99", time.Hour, serves)}, []string{"b"}, time.Time{}},
		"one has no Lease": {[]coordinationv1.Lease{lease("b", "99", 20*time.Second)}, []string{"a", "b"}, time.Time{}},
		"one stopped":      {[]coordinationv1.Lease{lease("a", "100", 0), lease("b", "99", time.Second, hasStopped)}, nil, time.Time{}},
		"one more lags":    {[]coordinationv1.Lease{lease("a", "100", 0), lease("b", "100", 0), lease("c", "1", 0)}, nil, time.Time{}},
	} {
		key := clitest.Healthy("web")
		key.Status.Propagation = &v1alpha1.Propagation{Version: "100", Verifiers: 2, Pending: []string{"a", "b"}}
		got := Progress(key, tc.leases, clitest.Now)
		if !slices.Equal(got.Pending, tc.pending) || (got.BoundAt == nil) != tc.bound.IsZero() || got.BoundAt != nil && !got.BoundAt.Time.Equal(tc.bound) {
			t.Errorf("%s: pending %q, bound %v; want %q, %v", name, got.Pending, got.BoundAt, tc.pending, tc.bound)
		}
		if len(key.Status.Propagation.Pending) != 2 {
			t.Errorf("%s: the status has changed", name)
		}
	}
}
