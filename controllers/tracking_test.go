// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// vouch renews the Lease of an environment as a verifier does.
func (w *world) vouch(environment string, since *metav1.Time) *coordinationv1.Lease {
	w.t.Helper()
	seconds := int32(60)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "dgbot-usage-" + environment,
			Annotations: map[string]string{"keys.dgbot.io/tracked-since": since.UTC().Format(time.RFC3339)},
		},
		Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: w.clock.Now()}, LeaseDurationSeconds: &seconds},
	}
	there := &coordinationv1.Lease{}
	found, err := get(w.t.Context(), live, client.ObjectKeyFromObject(lease), there)
	switch {
	case found:
		lease.ResourceVersion = there.ResourceVersion
		err = live.Update(w.t.Context(), lease)
	case err == nil:
		err = live.Create(w.t.Context(), lease)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return lease
}

func TestTrackingIsCarriedAndRenewalsWriteNothing(t *testing.T) {
	w := newWorld(t)
	w.create(nil)
	w.rest()
	issued := w.second()
	w.vouch("staging", issued)
	w.rest()
	if got := w.key().Status.TrackedSince; got != nil {
		t.Errorf("what another environment's verifiers say counts: %s", got)
	}
	w.vouch("production", issued)
	w.rest()
	tracked := w.key()
	if !tracked.Status.TrackedSince.Equal(issued) {
		t.Errorf("tracked since %v, want %s", tracked.Status.TrackedSince, issued)
	}
	for range 3 {
		w.advance(5 * time.Minute)
		w.vouch("production", issued)
		w.rest()
	}
	if w.key().ResourceVersion != tracked.ResourceVersion {
		t.Error("a renewal causes a write")
	}
	again := w.second()
	lease := w.vouch("production", again)
	w.rest()
	if got := w.key().Status.TrackedSince; !got.Equal(again) {
		t.Errorf("tracking began anew at %s, the status says %v", again, got)
	}
	lease.Annotations = nil
	if err := live.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	w.rest()
	if got := w.key().Status.TrackedSince; got != nil {
		t.Errorf("a Lease without a time vouches: %s", got)
	}
	if len(w.records()) != 1 {
		t.Error("something was minted")
	}
}

// TestAUseThatIsReportedAtTheLastMomentKeepsTheRevision: between the look at the record and the write that retires it.
func TestAUseThatIsReportedAtTheLastMomentKeepsTheRevision(t *testing.T) {
	for name, used := range map[string]bool{"used": true, "not used": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create(func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation = &v1alpha1.Rotation{Retire: v1alpha1.RetireWhenUnused, Overlap: &metav1.Duration{Duration: time.Hour}, MaxOverlap: &metav1.Duration{Duration: 48 * time.Hour}}
			})
			w.rest()
			since := w.second()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			w.rest()
			w.advance(2 * time.Hour)
			w.vouch("production", since)
			reporting := interceptor.NewClient(live, interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
					if first := w.first(); used && o.GetName() == first.Name && first.Status.LastUsedAt == nil {
						w.use(first, w.second())
					}
					return c.Patch(ctx, o, p, options...)
				},
			})
			w.restWith(w.operator(reporting))
			w.advance(5 * time.Minute)
			if retired := lifecycle.Admit(w.first(), w.clock.Now()) != lifecycle.Admitted; retired == used {
				t.Errorf("retired: %v, it ends at %s", retired, w.first().Spec.NotAfter)
			}
		})
	}
}

func TestMereRenewalsWakeNoKey(t *testing.T) {
	now := time.Now()
	r := &APIKeyReconciler{Clock: clocktesting.NewFakePassiveClock(now)}
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
	r := &APIKeyReconciler{Client: indexed(t, key("crm", "production"), key("elsewhere", "development"))}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "dgbot-usage-development"}}
	wake := r.wakeKeysOfLease()
	for name, send := range map[string]func(*recordingQueue){
		"created": func(q *recordingQueue) { wake.Create(t.Context(), event.CreateEvent{Object: lease}, q) },
		"updated": func(q *recordingQueue) {
			wake.Update(t.Context(), event.UpdateEvent{ObjectOld: lease, ObjectNew: lease}, q)
		},
		"deleted": func(q *recordingQueue) { wake.Delete(t.Context(), event.DeleteEvent{Object: lease}, q) },
	} {
		queue := newRecordingQueue()
		send(queue)
		if len(queue.now) > 0 || len(queue.later) != 1 || !queue.later["elsewhere"] {
			t.Errorf("a Lease that is %s wakes %v at once and %v later", name, queue.now, queue.later)
		}
	}
}

func TestNotOfRenewalAlone_DeletionWakesKeysOnlyWhereTrackingEnds(t *testing.T) {
	now := time.Now()
	r := &APIKeyReconciler{Clock: clocktesting.NewFakePassiveClock(now)}
	for since, wakes := range map[time.Duration]bool{0: true, lifecycle.MaxTrackingGap: false, lifecycle.UsageLeaseRetention: false} {
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: "dgbot-usage-production", Annotations: map[string]string{v1alpha1.TrackedSinceAnnotation: "2026-01-01T00:00:00Z"}},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: now.Add(-since)}},
		}
		if got := r.notOfRenewalAlone().Delete(event.DeleteEvent{Object: lease}); got != wakes {
			t.Errorf("deleted %s after its renewal, the Lease wakes keys: %v", since, got)
		}
	}
}
