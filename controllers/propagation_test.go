// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/verifiers"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/registration"
)

// verifierLease writes the Lease of a verifier that has followed up to a version, and hands it to the operators, with the versions of the records, as
// their watches would.
func (w *fixture) verifierLease(name, version string, operators ...*apikeys.Reconciler) {
	w.T.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: v1alpha1.VerifierLeasePrefix + name}}
	exists := live.Get(w.T.Context(), client.ObjectKeyFromObject(lease), lease) == nil
	stated := registration.Registration{MaxStaleness: 2 * time.Minute, RegisteredBy: "system:admin", Observed: map[registration.Watch]string{{}: version}}
	stated.Annotate(lease, w.clock.Now())
	lease.Spec.RenewTime = &metav1.MicroTime{Time: w.clock.Now()}
	write := func() error { return live.Create(w.T.Context(), lease) }
	if exists {
		write = func() error { return live.Update(w.T.Context(), lease) }
	}
	if err := write(); err != nil {
		w.T.Fatal(err)
	}
	for _, operator := range operators {
		operator.Verifiers.NoteVersion(w.highestRecord())
		operator.Verifiers.Observe(lease)
	}
}

func (w *fixture) propagation() *v1alpha1.Propagation {
	w.T.Helper()
	return w.key().Status.Propagation
}

// highestRecord returns the highest resourceVersion of the key's records.
func (w *fixture) highestRecord() string {
	highest := ""
	for _, record := range w.records() {
		if !registration.Reaches(highest, record.ResourceVersion) {
			highest = record.ResourceVersion
		}
	}
	return highest
}

func TestPropagation_IsConfirmedByVersion(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	writes := &faults{}
	operator := w.operator(writes.wrap(live))
	w.restWith(operator)
	w.verifierLease("a", w.highestRecord(), operator)
	w.verifierLease("b", w.highestRecord(), operator)
	if w.propagation() != nil {
		t.Fatalf("before a withdrawal there is %+v", w.propagation())
	}

	written := writes.writes
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	w.restWith(operator)
	pending := w.propagation()
	if pending == nil || pending.ConfirmedAt != nil || pending.Verifiers != 2 || len(pending.Pending) != 2 || pending.Generation != w.key().Generation ||
		pending.Version != w.highestRecord() || w.key().Status.ObservedGeneration != pending.Generation {
		t.Fatalf("after a withdrawal there is %+v", pending)
	}
	if condition := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.PropagationPendingCondition); condition == nil ||
		condition.Reason != v1alpha1.VerifiersBehindReason || !strings.Contains(condition.Message, "dgbot-verifier-a") {
		t.Errorf("the condition is %+v", condition)
	}
	w.verifierLease("a", pending.Version, operator)
	w.restWith(operator)
	if now := w.propagation(); now.ConfirmedAt != nil {
		t.Fatalf("with one of two it is confirmed: %+v", now)
	}
	w.advance(time.Second)
	w.verifierLease("b", pending.Version, operator)
	w.restWith(operator)
	confirmed := w.propagation()
	if confirmed.ConfirmedAt == nil || confirmed.Pending != nil || !confirmed.WrittenAt.Equal(&pending.WrittenAt) || confirmed.Version != pending.Version {
		t.Fatalf("with both there is %+v", confirmed)
	}
	if got := confirmed.ConfirmedAt.Sub(w.clock.Now()).Abs(); got > time.Second {
		t.Errorf("confirmed %s away from the renewal that confirms", got)
	}
	// The record, the status, and the status with the proof.
	if n := writes.writes - written; n != 3 {
		t.Errorf("%d writes for a withdrawal and its proof, want 3", n)
	}
	w.advance(time.Hour)
	w.restWith(operator)
	if n := writes.writes - written; n != 3 || !w.propagation().ConfirmedAt.Equal(confirmed.ConfirmedAt) {
		t.Errorf("%d writes an hour later: %+v", n, w.propagation())
	}

	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
	w.restWith(operator)
	if now := w.propagation(); now != nil {
		t.Errorf("the key is Active again, and there is %+v", now)
	}
	for _, record := range w.records() {
		if at, noted := record.Annotations[v1alpha1.WithdrawnAtAnnotation]; noted {
			t.Errorf("record %s is still noted as withdrawn at %s", record.Name, at)
		}
	}
}

// TestPropagation_SurvivesACrashAtEachWrite: whichever write is the last one of an operator, the next operator finds the withdrawal.
func TestPropagation_SurvivesACrashAtEachWrite(t *testing.T) {
	for name, crash := range map[string]func(*fixture, client.WithWatch){
		// Every later write fails: the status that tells of the withdrawal is not written.
		"after the record": func(w *fixture, writes client.WithWatch) {
			crashed := w.operator(writes)
			w.verifierLease("a", "1", crashed)
			_, err := crashed.Reconcile(t.Context(), w.request())
			if !errors.Is(err, errInjected) {
				t.Fatalf("it did not crash: %v", err)
			}
		},
		"after the status": func(w *fixture, _ client.WithWatch) {
			crashed := w.operator(live)
			w.verifierLease("a", "1", crashed)
			w.restWith(crashed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.create(nil)
			w.restWith(w.operator(live))
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
			crash(w, interceptor.NewClient(live, interceptor.Funcs{
				SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
					return errInjected
				},
			}))
			if verdict := w.verifies(); verdict != standing.Revoked {
				t.Fatalf("the key is %s", verdict)
			}
			next := w.operator(live)
			w.restWith(next)
			w.verifierLease("a", w.highestRecord(), next)
			w.restWith(next)
			got := w.propagation()
			if got == nil || got.ConfirmedAt == nil || !registration.Reaches(got.Version, w.highestRecord()) {
				t.Fatalf("there is %+v, and the records are at %s", got, w.highestRecord())
			}
			again := w.operator(live)
			w.verifierLease("a", w.highestRecord(), again)
			w.restWith(again)
			if now := w.propagation(); !now.ConfirmedAt.Equal(got.ConfirmedAt) || now.Version != got.Version {
				t.Errorf("another start made %+v of %+v", now, got)
			}
		})
	}
}

// TestPropagation_FollowsARotationWithoutAnOverlap: the earlier revision ends at once.
func TestPropagation_FollowsARotationWithoutAnOverlap(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation = &v1alpha1.Rotation{Overlap: &metav1.Duration{}}
	})
	operator := w.operator(live)
	w.restWith(operator)
	w.verifierLease("a", w.highestRecord(), operator)
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.restWith(operator)
	if got := w.propagation(); got == nil || got.ConfirmedAt != nil {
		t.Fatalf("after a rotation without an overlap there is %+v", got)
	}
	w.advance(time.Second)
	w.verifierLease("a", w.highestRecord(), operator)
	w.restWith(operator)
	if got := w.propagation(); got.ConfirmedAt == nil {
		t.Errorf("it has followed, and there is %+v", got)
	}
}

// TestPropagation_WithAnOverlapNothingIsWithdrawn, by a rotation or by an end in the future.
func TestPropagation_WithAnOverlapNothingIsWithdrawn(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator := w.operator(live)
	w.restWith(operator)
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: w.second()} })
	w.restWith(operator)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.clock.Now().Add(time.Hour)} })
	w.restWith(operator)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Scopes = nil })
	w.restWith(operator)
	if got := w.propagation(); got != nil {
		t.Errorf("there is %+v", got)
	}
}

// TestPropagation_WithoutVerifiersNothingIsProven, and the key says so.
func TestPropagation_WithoutVerifiersNothingIsProven(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator := w.operator(live)
	operator.Verifiers = &verifiers.Registry{Live: live, Namespace: w.Name, Clock: w.clock, Silence: w.clock}
	w.restWith(operator)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	w.restWith(operator)
	got := w.propagation()
	condition := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.PropagationPendingCondition)
	if got == nil || got.ConfirmedAt != nil || got.Verifiers != 0 || condition == nil || condition.Reason != v1alpha1.VerifiersUnknownReason {
		t.Errorf("got %+v, %+v", got, condition)
	}
	// The first verifier is named although less than a minute has passed since the last report: that named none.
	w.verifierLease("a", "1", operator)
	w.restWith(operator)
	got = w.propagation()
	condition = apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.PropagationPendingCondition)
	if got == nil || condition == nil || got.Verifiers != 1 || len(got.Pending) != 1 || condition.Reason != v1alpha1.VerifiersBehindReason {
		t.Errorf("with a first verifier that is behind, it is %+v, %+v", got, condition)
	}
}
