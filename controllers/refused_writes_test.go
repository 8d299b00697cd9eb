// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// rotated is a fixture whose key has two revisions that verify.
func rotated(t *testing.T) *fixture {
	t.Helper()
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.rest()
	return w
}

func forbidden(format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: fmt.Sprintf(format, args...),
	}}
}

// TestAWebhookThatQuotesTheKeyInUseDoesNotPublishIt: it is shown the Secret as it was, too.
func TestAWebhookThatQuotesTheKeyInUseDoesNotPublishIt(t *testing.T) {
	for name, happen := range map[string]func(*fixture){
		"when a label is put back": func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) { delete(s.Labels, v1alpha1.ManagedByLabel) })
		},
		"when the key is rotated": func(w *fixture) {
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.create(nil)
			w.rest()
			key := string(w.secret().Data[v1alpha1.DefaultSecretKey])
			quote := forbidden("webhook: %s, %s, %s", key, key[:len(key)-10], base64.StdEncoding.EncodeToString([]byte(key)))
			quoting := interceptor.NewClient(live, interceptor.Funcs{
				Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return quote },
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
					if _, ok := o.(*corev1.Secret); ok {
						return quote
					}
					return c.Patch(ctx, o, p, options...)
				},
			})
			happen(w)
			w.restWith(w.operator(quoting))
			w.stalled(v1alpha1.SecretWriteRefusedReason, "webhook: dgbot_production_")
			if said := fmt.Sprint(w.key().Status); exposed(said, key) {
				t.Errorf("the key is in the status: %s", said)
			}
		})
	}
}

// TestWhatAWebhookSaysOfAKeyInUseIsNotTold: there are more ways to write a key down than can be masked.
func TestWhatAWebhookSaysOfAKeyInUseIsNotTold(t *testing.T) {
	const denied = `admission webhook "quoting" denied the request: `
	quote := func(o client.Object) error {
		secret, ok := o.(*corev1.Secret)
		if !ok {
			return nil
		}
		text := base64.StdEncoding.EncodeToString(secret.Data[v1alpha1.DefaultSecretKey])
		return forbidden(denied+"see %s", strings.Join(strings.Split(text, ""), "-"))
	}
	spelled := func(w *fixture) string {
		return strings.Join(strings.Split(base64.StdEncoding.EncodeToString(w.secret().Data[v1alpha1.DefaultSecretKey]), ""), "-")
	}
	update := func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.UpdateOption) error {
		return quote(o)
	}
	for name, tc := range map[string]struct {
		Reject interceptor.Funcs
		want   string
	}{
		"who says nothing to a new Secret": {interceptor.Funcs{Update: update}, "the text is omitted"},
		"who says the same to a new Secret": {interceptor.Funcs{Update: update, Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if err := quote(o); err != nil {
				return err
			}
			return c.Create(ctx, o, options...)
		}}, "see "},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.create(nil)
			w.rest()
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			w.restWith(w.operator(interceptor.NewClient(live, tc.Reject)))
			w.stalled(v1alpha1.SecretWriteRefusedReason, denied)
			w.stalled(v1alpha1.SecretWriteRefusedReason, tc.want)
			if said := fmt.Sprint(w.key().Status); strings.Contains(said, spelled(w)[40:]) {
				t.Errorf("the key is in the status: %s", said)
			}
		})
	}
	t.Run("who lets a dry run pass", func(t *testing.T) {
		w := newFixture(t)
		w.create(nil)
		w.restWith(w.operator(failing(func(s *corev1.Secret) error { return quote(s) })))
		w.stalled(v1alpha1.SecretWriteRefusedReason, denied+"(the text is omitted")
	})
}

// exposed reports whether the secret part of a key, or most of it, is in a text.
func exposed(said, key string) bool {
	secretPart := key[strings.LastIndex(key, "_")+1:]
	return strings.Contains(said, secretPart[:20]) || strings.Contains(said, base64.StdEncoding.EncodeToString([]byte(key)))
}

// TestARefusedRevocationIsSaidAndStopsNoOther: one record that cannot be revoked keeps no other alive.
func TestARefusedRevocationIsSaidAndStopsNoOther(t *testing.T) {
	w := rotated(t)
	refused := w.published().Name
	patches := 0
	refusing := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if o.GetName() == refused {
				patches++
				return forbidden("a policy says no")
			}
			return c.Patch(ctx, o, p, options...)
		},
	})
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	w.restWith(w.operator(refusing))
	w.stalled(v1alpha1.RecordWriteRefusedReason, "a policy says no")
	if w.first().Spec.State != v1alpha1.StateRevoked {
		t.Error("the other revision was not revoked")
	}
	if patches != 1 {
		t.Errorf("the refused patch was sent %d times in a pass", patches)
	}
	w.rest()
	if ready := w.ready(); ready.Reason != v1alpha1.RevokedReason || w.verifies() != standing.Revoked {
		t.Errorf("after the policy is gone: %+v", ready)
	}
}

// TestAKeyThatIsDeletedWhileAWriteIsRefusedIsLeftAlone: the refusal is known first, and then there is nothing to plan for.
func TestAKeyThatIsDeletedWhileAWriteIsRefusedIsLeftAlone(t *testing.T) {
	w := rotated(t)
	refused, created := w.first().Name, 0
	deleting := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if o.GetName() == refused {
				return forbidden("a policy says no")
			}
			return c.Patch(ctx, o, p, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, ok := o.(*v1alpha1.DGbotAPIKeyRecord); ok {
				created++
				if err := live.Delete(ctx, w.key()); err != nil {
					return err
				}
			}
			return c.Create(ctx, o, options...)
		},
	})
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	if _, err := w.operator(deleting).Reconcile(t.Context(), w.request()); err != nil {
		t.Errorf("a key that is gone: %v", err)
	}
	if created != 1 {
		t.Fatalf("%d revisions were issued while the key was deleted, want 1", created)
	}
}

// TestARecordThatMayNotBeDeletedDelaysNothing: tidying up is no reason to stop.
func TestARecordThatMayNotBeDeletedDelaysNothing(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = &metav1.Duration{} })
	w.rest()
	keeping := interceptor.NewClient(live, interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			return forbidden("nothing is deleted here")
		},
	})
	for range 13 {
		w.advance(time.Minute)
		w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
		w.restWith(w.operator(keeping))
	}
	if ready := w.ready(); ready.Status != metav1.ConditionTrue || w.verifies() != standing.Admitted || len(w.records()) != 14 {
		t.Errorf("%d records, Ready %+v", len(w.records()), ready)
	}
}

// TestAMutatingWebhookThatUndoesARepairIsSaidAndNotFought: it may change the Secret each time.
func TestAMutatingWebhookThatUndoesARepairIsSaidAndNotFought(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	writes := 0
	mutating := interceptor.NewClient(live, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			err := c.Patch(ctx, o, p, options...)
			if secret, ok := o.(*corev1.Secret); ok && err == nil {
				writes++
				secret.Labels[v1alpha1.ManagedByLabel] = fmt.Sprintf("another-%d", writes)
				return c.Update(ctx, secret)
			}
			return err
		},
	})
	w.editSecret(func(s *corev1.Secret) { s.Labels[v1alpha1.ManagedByLabel] = "another" })
	operator := w.operator(mutating)
	for range 5 {
		w.restWith(operator)
	}
	w.stalled(v1alpha1.SecretWriteRefusedReason, "mutating webhook")
	if writes != 1 {
		t.Errorf("the Secret was repaired %d times within a minute", writes)
	}
	w.advance(2 * time.Minute)
	w.restWith(w.operator(live))
	if ready := w.ready(); ready.Status != metav1.ConditionTrue {
		t.Errorf("after the webhook is gone: %+v", ready)
	}
}

// hanging is a client whose writes of Secrets never come back.
func hanging() client.Client {
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, ok := o.(*corev1.Secret); ok {
				<-ctx.Done()
				return ctx.Err()
			}
			return c.Create(ctx, o, options...)
		},
		Update: func(ctx context.Context, _ client.WithWatch, _ client.Object, _ ...client.UpdateOption) error {
			<-ctx.Done()
			return ctx.Err()
		},
	})
}

// TestALeakedKeyIsRevokedAlthoughItsReplacementHangs: one attempt to publish it, of PublishTimeout.
func TestALeakedKeyIsRevokedAlthoughItsReplacementHangs(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
	if _, err := w.operator(hanging()).Reconcile(t.Context(), w.request()); err == nil {
		t.Error("no error: the replacement would not be tried again")
	}
	if w.first().Spec.State != v1alpha1.StateRevoked {
		t.Error("the leaked key is not revoked")
	}
	w.rest()
	if w.verifies() != standing.Admitted {
		t.Errorf("not replaced once the API server answers: %+v", w.ready())
	}
}

// TestAKeyWhoseWritesHangSaysThatItIsInProgress: an empty status would leave its user in the dark.
func TestAKeyWhoseWritesHangSaysThatItIsInProgress(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.create(nil)
	if _, err := w.operator(hanging()).Reconcile(t.Context(), w.request()); err == nil {
		t.Error("no error: it would not be tried again")
	}
	reconciling := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.ReconcilingCondition)
	if ready := w.ready(); ready.Status != metav1.ConditionFalse || reconciling == nil || reconciling.Reason != v1alpha1.ProgressingReason {
		t.Errorf("Ready %+v, Reconciling %+v", ready, reconciling)
	}
	w.nothingMinted()
}

// TestAStatusThatWentBackIsReportedAgain: as after a restore of etcd, when resourceVersions are lower than remembered.
func TestAStatusThatWentBackIsReportedAgain(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	restored := false
	operator := w.operator(interceptor.NewClient(live, interceptor.Funcs{
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, configuration runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
			err := c.SubResource(sub).Apply(ctx, configuration, options...)
			if object, ok := configuration.(interface{ SetResourceVersion(string) }); ok && !restored {
				object.SetResourceVersion("999999999") // as far as etcd had come before
			}
			return err
		},
	}))
	w.restWith(operator)
	restored = true
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		k.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: "soon"}
	})
	said := func() bool {
		return apimeta.IsStatusConditionTrue(w.key().Status.Conditions, v1alpha1.RequestInvalidCondition)
	}
	result, err := operator.Reconcile(t.Context(), w.request())
	if err != nil || result.RequeueAfter != 5*time.Second || said() {
		t.Errorf("%+v, %v: a cache that may only be behind is to be waited for", result, err)
	}
	w.advance(time.Minute)
	w.restWith(operator)
	if !said() {
		t.Error("nothing is reported any more")
	}
}
