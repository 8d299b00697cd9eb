// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// meanwhile is a reader at which something happens once, after it has read the key.
func meanwhile(do func()) client.Reader {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, name, o, options...)
			if _, isKey := o.(*v1alpha1.DGbotAPIKey); isKey && do != nil {
				once := do
				do = nil
				once()
			}
			return err
		},
	})
}

// unpatchable is a client whose patches of records get no answer, and do not happen.
func unpatchable(base client.WithWatch) client.WithWatch {
	return interceptor.NewClient(base, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if _, isRecord := o.(*v1alpha1.DGbotAPIKeyRecord); isRecord {
				return errInjected
			}
			return c.Patch(ctx, o, p, options...)
		},
	})
}

// TestReconcile_PublishesBeforeItRevokesThoughTheRecordThatIsTakenCannotBeRead: another instance created the record of revision 2 and crashed, the cache
// lacks it, and the API server cannot read it alone. The key in use is revoked after its replacement is published, as from a list.
func TestReconcile_PublishesBeforeItRevokesThoughTheRecordThatIsTakenCannotBeRead(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	records := w.records()
	attempt := records[0].DeepCopy()
	attempt.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: strings.TrimSuffix(attempt.Name, "-r1") + "-r2", Labels: attempt.Labels, OwnerReferences: attempt.OwnerReferences}
	attempt.Spec.Revision, attempt.Spec.Cause = 2, v1alpha1.CauseRevocation
	attempt.Spec.KeyID, attempt.Spec.Hash = "0123456789ab", "sha256:"+strings.Repeat("0", 64)
	attempt.Spec.IssuedAt = metav1.Time{Time: w.second().Add(time.Second)}
	if err := live.Create(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	var order []string
	count := &faults{each: func(what string) { order = append(order, what) }}
	operator := w.operator(withRecords(count.wrap(live), records))
	operator.Live = failingReads(live, func(o runtime.Object, name client.ObjectKey) bool {
		_, isRecord := o.(*v1alpha1.DGbotAPIKeyRecord)
		return isRecord && name.Name == attempt.Name
	})
	for range 5 {
		if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
			t.Log(err)
		}
	}
	published, revoked := slices.Index(order, "update Secret"), slices.Index(order, "patch DGbotAPIKeyRecord")
	if published < 0 || revoked >= 0 && revoked < published {
		t.Errorf("the key in use was revoked before its replacement was published: %v", order)
	}
}

// TestReconcile_PublishesBeforeItRevokesWhileReadsOfRecordsHang: a KMS that decrypts records does not answer, and the API server has them for lists.
func TestReconcile_PublishesBeforeItRevokesWhileReadsOfRecordsHang(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	var order []string
	count := &faults{each: func(what string) { order = append(order, what) }}
	operator := w.operator(count.wrap(live))
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, isRecord := o.(*v1alpha1.DGbotAPIKeyRecord); isRecord {
				<-ctx.Done()
				return ctx.Err()
			}
			return c.Get(ctx, name, o, options...)
		},
	})
	for range 5 {
		if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
			t.Log(err)
		}
	}
	published, revoked := slices.Index(order, "update Secret"), slices.Index(order, "patch DGbotAPIKeyRecord")
	if published < 0 || revoked >= 0 && revoked < published {
		t.Errorf("the key in use was revoked before its replacement was published: %v", order)
	}
}

// TestReconcile_RevokesNothingForARequestThatIsTakenBackDuringTheReads: as TestARevisionIsNotEndedOnTheWordOfAnOlderKey, without a list.
func TestReconcile_RevokesNothingForARequestThatIsTakenBackDuringTheReads(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*fixture)
		undo    func(*v1alpha1.DGbotAPIKey)
	}{
		"a request to revoke": {
			prepare: func(w *fixture) {
				w.rotated()
				w.advance(time.Minute)
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = &w.first().Spec.IssuedAt })
			},
			undo: func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = nil },
		},
		"an overlap of 0s, after a crash": {
			prepare: func(w *fixture) {
				w.rotationDue()
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = &metav1.Duration{} })
				if _, err := w.operator((&faults{breakAt: 3}).wrap(live)).Reconcile(w.T.Context(), w.request()); !errors.Is(err, errInjected) {
					w.T.Fatalf("the patch did not fail: %v", err)
				}
			},
			undo: func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = &metav1.Duration{Duration: time.Hour} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			test.prepare(w)
			operator := w.operator(live)
			operator.Live = meanwhile(func() { w.edit(test.undo) })
			w.restWith(operator)
			w.advance(time.Minute)
			if verdict := standing.Admit(w.first(), w.clock.Now()); verdict != standing.Admitted {
				t.Errorf("revision 1 is %s until %v: %s", w.first().Spec.State, w.first().Spec.NotAfter, verdict)
			}
		})
	}
}

// TestReconcile_DoesNotReportWhatFailed: the patch that ends or disables the key gets no answer for good. No condition says that it happened.
func TestReconcile_DoesNotReportWhatFailed(t *testing.T) {
	for name, prepare := range map[string]func(*fixture){
		"an earlier expiry": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = w.second() })
		},
		"the audit": func(w *fixture) {
			w.unused(91)
			w.unusedFor(31)
		},
		"Disabled": func(w *fixture) {
			w.create(nil)
			w.rest()
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			prepare(w)
			operator := w.operator(unpatchable(live))
			for range 8 {
				_, _ = operator.Reconcile(t.Context(), w.request())
				w.advance(time.Second)
			}
			if w.verifies() != standing.Admitted {
				t.Fatalf("the key is %s", w.verifies())
			}
			ready := w.ready()
			if ready.Reason != v1alpha1.IssuedReason && ready.Reason != v1alpha1.ProgressingReason {
				t.Errorf("the key is accepted, and Ready is %s: %s", ready.Reason, ready.Message)
			}
		})
	}
}

// TestReconcile_ReadsNoRecordsBeforeAListOfMany: where more records would be read one by one than are worth it, none is.
func TestReconcile_ReadsNoRecordsBeforeAListOfMany(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	for range 5 {
		w.advance(time.Minute)
		w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
		w.rest()
	}
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	gets, lists := 0, 0
	operator := w.operator(live)
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, isRecord := o.(*v1alpha1.DGbotAPIKeyRecord); isRecord {
				gets++
			}
			return c.Get(ctx, name, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, isRecords := list.(*v1alpha1.DGbotAPIKeyRecordList); isRecords {
				lists++
			}
			return c.List(ctx, list, options...)
		},
	})
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if gets != 0 || lists != 1 {
		t.Errorf("%d records were read one by one, and then %d lists", gets, lists)
	}
}
