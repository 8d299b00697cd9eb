// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// What the storm in test/e2e/storm found, in slow motion.

// etcdTimeout is what an API server passes on when etcd did not answer in time: the write may have happened.
func etcdTimeout() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError, Message: "etcdserver: request timed out",
	}}
}

// happening writes twice and answers with what answer makes of the second outcome: for objects that are picked, dry runs
// aside.
func happening(picked func(client.Object) bool, answer func(second error) error) client.Client {
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if dry := (&client.CreateOptions{}).ApplyOptions(options); len(dry.DryRun) > 0 || !picked(o) {
				return c.Create(ctx, o, options...)
			}
			first, ok := o.DeepCopyObject().(client.Object)
			if !ok {
				return fmt.Errorf("%T is no object", o)
			}
			if err := c.Create(ctx, first, options...); err != nil {
				return err
			}
			return answer(c.Create(ctx, o, options...))
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			if dry := (&client.UpdateOptions{}).ApplyOptions(options); len(dry.DryRun) > 0 || !picked(o) {
				return c.Update(ctx, o, options...)
			}
			first, ok := o.DeepCopyObject().(client.Object)
			if !ok {
				return fmt.Errorf("%T is no object", o)
			}
			if err := c.Update(ctx, first, options...); err != nil {
				return err
			}
			return answer(c.Update(ctx, o, options...))
		},
	})
}

// TestAWriteThatIsAnsweredWrongly: the revision is published and goes on verifying, whatever the API server answered to the operator about
// the writes that made it; no other is minted.
func TestAWriteThatIsAnsweredWrongly(t *testing.T) {
	isSecret := func(o client.Object) bool { _, ok := o.(*corev1.Secret); return ok }
	isRecord := func(o client.Object) bool { _, ok := o.(*v1alpha1.DGbotAPIKeyRecord); return ok }
	repeated := func(second error) error { return second }
	timedOut := func(error) error { return etcdTimeout() }
	for name, test := range map[string]struct {
		picked func(client.Object) bool
		answer func(error) error
	}{
		"the Secret is written twice by a load balancer": {isSecret, repeated},
		"the Secret is written and etcd seems too slow":  {isSecret, timedOut},
		"the record is created twice by a load balancer": {isRecord, repeated},
		"both are written twice":                         {func(o client.Object) bool { return isSecret(o) || isRecord(o) }, repeated},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.create(nil)
			for _, cause := range []v1alpha1.Cause{v1alpha1.CauseFirstIssue, v1alpha1.CauseRequest} {
				w.client = happening(test.picked, test.answer)
				if _, err := w.operator(w.client).Reconcile(t.Context(), w.request()); err != nil {
					t.Fatal(err)
				}
				w.client = live
				w.rest()
				current := w.published()
				if current == nil || current.Spec.Cause != cause || current.Spec.NotAfter != nil {
					t.Fatalf("published is %+v, want a revision for %s without an end", current, cause)
				}
				w.advance(time.Minute)
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			}
			if n := len(w.records()); n != 2 {
				t.Errorf("%d records for 2 causes", n)
			}
		})
	}
}

// TestAPublishedRevisionThatIsReplacedBeforeItsMinterHears: what the minter finds in the Secret then is a newer key, and its
// own may be in use all the same. It has its overlap from the newer one on.
func TestAPublishedRevisionThatIsReplacedBeforeItsMinterHears(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	var replaced *v1alpha1.DGbotAPIKeyRecord
	isSecret := func(o client.Object) bool { _, ok := o.(*corev1.Secret); return ok }
	slow := happening(isSecret, func(second error) error {
		replaced = w.published()
		w.advance(4 * time.Second)
		w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
		if _, err := w.operator(live).Reconcile(t.Context(), w.request()); err != nil {
			t.Error(err)
		}
		return second
	})
	// The second write of the first operator comes after all that.
	_, _ = w.operator(slow).Reconcile(t.Context(), w.request())
	w.rest()
	current := w.published()
	if replaced == nil || replaced.Spec.Revision != 2 || current == nil || current.Spec.Revision != 3 {
		t.Fatalf("revision %+v was replaced by %+v, want 2 and 3", replaced, current)
	}
	want := current.Spec.IssuedAt.Add(w.key().Spec.Rotation.Overlap.Duration)
	for _, record := range w.records() {
		if record.UID == replaced.UID && (record.Spec.NotAfter == nil || !record.Spec.NotAfter.Time.Equal(want)) {
			t.Errorf("revision 2 ends at %v, want %v: the overlap after revision 3", record.Spec.NotAfter, want)
		}
	}
}

// TestAKeyThatIsDeletedWhileItIsIssued ends the pass, and nothing more is written for it.
func TestAKeyThatIsDeletedWhileItIsIssued(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	key := w.key()
	operator := w.operator(happening(func(o client.Object) bool {
		_, isSecret := o.(*corev1.Secret)
		return isSecret
	}, func(error) error { return live.Delete(t.Context(), key) }))
	if _, err := operator.Reconcile(t.Context(), w.request()); err != nil {
		t.Error(err)
	}
	if n := len(w.records()); n > 1 {
		t.Errorf("%d records", n)
	}
}

// TestAStatusIsNotForTheNextKeyOfTheName: what was observed of a deleted key is no news about the one created after it.
func TestAStatusIsNotForTheNextKeyOfTheName(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	recreated := false
	slow := interceptor.NewClient(live, interceptor.Funcs{
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, configuration runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
			if !recreated {
				recreated = true
				if err := live.Delete(ctx, w.key()); err != nil {
					t.Error(err)
				}
				w.create(nil)
			}
			return c.SubResource(sub).Apply(ctx, configuration, options...)
		},
	})
	if _, err := w.operator(slow).Reconcile(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if !recreated {
		t.Fatal("no status was written")
	}
	if conditions := w.key().Status.Conditions; len(conditions) > 0 {
		t.Errorf("the new key says of itself: %+v", conditions)
	}
	w.rest()
	if published := w.published(); published == nil || published.Spec.Cause != v1alpha1.CauseFirstIssue {
		t.Errorf("published is %+v", published)
	}
}

// TestARevisionsNumberIsNotUsedAgain: not even where its record was deleted and the key revoked meanwhile.
func TestARevisionsNumberIsNotUsedAgain(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	if err := live.Delete(t.Context(), w.published()); err != nil {
		t.Fatal(err)
	}
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
	w.rest()
	published := w.published()
	if published == nil || published.Spec.Revision != 2 || published.Spec.Cause != v1alpha1.CauseRecordLost {
		t.Errorf("published is %+v, want revision 2", published)
	}
}
