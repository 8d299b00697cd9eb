// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// TestReconcile_RevokesARestoredRecordWhereNoneMayBeCreated: a backup tool has restored the record of revision 1, which the cache lacks, and a quota
// rejects new records. All that leaked is revoked, as from a list.
func TestReconcile_RevokesARestoredRecordWhereNoneMayBeCreated(t *testing.T) {
	w := newFixture(t)
	w.rotated()
	restored := w.first()
	if err := live.Delete(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	records := w.records()
	restored.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: restored.Name, Labels: restored.Labels, Annotations: restored.Annotations, OwnerReferences: restored.OwnerReferences}
	if err := live.Create(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	operator := w.operator(withRecords(interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, isRecord := o.(*v1alpha1.DGbotAPIKeyRecord); isRecord {
				return forbidden("exceeded quota")
			}
			return c.Create(ctx, o, options...)
		},
	}), records))
	for range 5 {
		result, err := operator.Reconcile(t.Context(), w.request())
		if err != nil {
			t.Log(err)
		}
		w.advance(min(result.RequeueAfter, time.Minute))
	}
	for _, record := range w.records() {
		if record.Spec.State != v1alpha1.StateRevoked {
			t.Errorf("revision %d is %s", record.Spec.Revision, record.Spec.State)
		}
	}
}

// TestReconcile_ReportsTheRevisionThatAnotherInstancePublished: a quota rejects the Secret, is raised, and another instance publishes the revision before
// this one has listed the records. The status does not say that the write is rejected.
func TestReconcile_ReportsTheRevisionThatAnotherInstancePublished(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	rejecting := interceptor.NewClient(live, interceptor.Funcs{
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error {
			return forbidden("exceeded quota")
		},
	})
	writes := &faults{breakAt: 1, before: func() {}, after: func() { w.rest() }}
	operator := w.operator(writes.wrap(rejecting))
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if verdict := w.verifies(); writes.writes == 0 || verdict != standing.Admitted {
		t.Fatalf("%d writes, and the key is %s", writes.writes, verdict)
	}
	if ready := w.ready(); ready.Status != metav1.ConditionTrue {
		t.Errorf("the key in the Secret is accepted, and Ready is %s: %s", ready.Reason, ready.Message)
	}
}

// TestReconcile_RevokesALeakedKeyThatTheAuditDisablesAsWell: the record changes all the time. A revocation on request waits for no report of a use.
func TestReconcile_RevokesALeakedKeyThatTheAuditDisablesAsWell(t *testing.T) {
	w := newFixture(t)
	w.unused(91)
	w.unusedFor(31)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	changes := 0
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if first := w.first(); o.GetName() == first.Name {
				changed := first.DeepCopy()
				changes++
				metav1.SetMetaDataAnnotation(&changed.ObjectMeta, "example.com/changes", time.Duration(changes).String())
				if err := live.Patch(ctx, changed, client.MergeFrom(first)); err != nil {
					t.Error(err)
				}
			}
			return c.Patch(ctx, o, p, options...)
		},
	}))
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if state := w.first().Spec.State; state != v1alpha1.StateRevoked {
		t.Errorf("after %d patches revision 1 is %s, and Ready is %s", changes, state, w.ready().Reason)
	}
}
