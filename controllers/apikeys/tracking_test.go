// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue/queuetest"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

func TestMereRenewalsWakeNoKey(t *testing.T) {
	now := time.Now()
	r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(now)}
	vouching := func(name string, renewed time.Time, since string) *coordinationv1.Lease {
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1alpha1.TrackedSinceAnnotation: since}},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: renewed}},
		}
	}
	const since, name = "2026-01-01T00:00:00Z", "dgbot-usage-production"
	for what, tc := range map[string]struct {
		before, after *coordinationv1.Lease
		wakes         bool
	}{
		"a renewal":               {vouching(name, now.Add(-time.Minute), since), vouching(name, now, since), false},
		"a renewal after a lapse": {vouching(name, now.Add(-time.Hour), since), vouching(name, now, since), true},
		"begun anew":              {vouching(name, now, since), vouching(name, now, "2026-01-02T00:00:00Z"), true},
		"another Lease":           {vouching("dgbot-manager", now.Add(-time.Hour), since), vouching("dgbot-manager", now, "x"), false},
	} {
		if got := r.notOfRenewalAlone().Update(event.UpdateEvent{ObjectOld: tc.before, ObjectNew: tc.after}); got != tc.wakes {
			t.Errorf("%s wakes: %v, want %v", what, got, tc.wakes)
		}
	}
	if r.notOfRenewalAlone().Create(event.CreateEvent{Object: vouching("dgbot-manager", now, since)}) {
		t.Error("another Lease wakes")
	}
}

func TestWakeKeysOfLease_WakesTheKeysOfItsEnvironmentOnly(t *testing.T) {
	key := func(name, environment string) *v1alpha1.DGbotAPIKey {
		return &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name}, Spec: v1alpha1.DGbotAPIKeySpec{Environment: environment}}
	}
	r := &Reconciler{Client: indexed(t, key("crm", "production"), key("elsewhere", "development"))}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "dgbot-usage-development"}}
	wake := r.wakeKeysOfLease()
	for name, send := range map[string]func(*queuetest.Recorder){
		"created": func(q *queuetest.Recorder) { wake.Create(t.Context(), event.CreateEvent{Object: lease}, q) },
		"updated": func(q *queuetest.Recorder) {
			wake.Update(t.Context(), event.UpdateEvent{ObjectOld: lease, ObjectNew: lease}, q)
		},
		"deleted": func(q *queuetest.Recorder) { wake.Delete(t.Context(), event.DeleteEvent{Object: lease}, q) },
	} {
		queue := queuetest.NewRecorder()
		send(queue)
		if len(queue.Now) > 0 || len(queue.Later) != 1 || !queue.Later["elsewhere"] {
			t.Errorf("a Lease that is %s wakes %v at once and %v later", name, queue.Now, queue.Later)
		}
	}
}

func TestNotOfRenewalAlone_DeletionWakesKeysOnlyWhereTrackingEnds(t *testing.T) {
	now := time.Now()
	r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(now)}
	for since, wakes := range map[time.Duration]bool{0: true, tracking.MaxTrackingGap: false, tracking.UsageLeaseRetention: false} {
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: "dgbot-usage-production", Annotations: map[string]string{v1alpha1.TrackedSinceAnnotation: "2026-01-01T00:00:00Z"}},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: now.Add(-since)}},
		}
		if got := r.notOfRenewalAlone().Delete(event.DeleteEvent{Object: lease}); got != wakes {
			t.Errorf("deleted %s after its renewal, the Lease wakes keys: %v", since, got)
		}
	}
}
