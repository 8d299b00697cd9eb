// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// vouch renews the Lease of an environment as a verifier does.
func (w *fixture) vouch(environment string, since *metav1.Time) *coordinationv1.Lease {
	w.T.Helper()
	seconds := int32(60)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Name, Name: "dgbot-usage-" + environment,
			Annotations: map[string]string{"keys.dgbot.io/tracked-since": since.UTC().Format(time.RFC3339)},
		},
		Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: w.clock.Now()}, LeaseDurationSeconds: &seconds},
	}
	there := &coordinationv1.Lease{}
	found, err := read.Get(w.T.Context(), live, client.ObjectKeyFromObject(lease), there)
	switch {
	case found:
		lease.ResourceVersion = there.ResourceVersion
		err = live.Update(w.T.Context(), lease)
	case err == nil:
		err = live.Create(w.T.Context(), lease)
	}
	if err != nil {
		w.T.Fatal(err)
	}
	return lease
}

func TestTrackingIsCarriedAndRenewalsWriteNothing(t *testing.T) {
	w := newFixture(t)
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
			w := newFixture(t)
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
			if retired := standing.Admit(w.first(), w.clock.Now()) != standing.Admitted; retired == used {
				t.Errorf("retired: %v, it ends at %s", retired, w.first().Spec.NotAfter)
			}
		})
	}
}
