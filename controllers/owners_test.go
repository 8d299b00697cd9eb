// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// replicate copies a Secret into the fixture's namespace, as a replicator does, under the name of its key.
func (w *fixture) replicate(from *corev1.Secret, change func(*corev1.Secret)) {
	w.T.Helper()
	replica := from.DeepCopy()
	replica.ObjectMeta = metav1.ObjectMeta{Namespace: w.Name, Name: from.Name, Labels: from.Labels, Annotations: from.Annotations}
	if change != nil {
		change(replica)
	}
	if err := live.Create(w.T.Context(), replica); err != nil {
		w.T.Fatal(err)
	}
}

func withoutAnnotations(s *corev1.Secret) { s.Annotations = nil }

// TestReconcile_LeavesReplicasAlone: the Secret of a live key of another namespace is not taken over. Once that key is gone, its replica
// is orphaned like any other Secret.
func TestReconcile_LeavesReplicasAlone(t *testing.T) {
	for name, change := range map[string]func(*corev1.Secret){
		"with its annotations":    nil,
		"without its annotations": withoutAnnotations,
		"with an owner":           nil,
	} {
		t.Run(name, func(t *testing.T) {
			source, w := newFixture(t), newFixture(t)
			source.create(nil)
			source.rest()
			if name == "with an owner" {
				owner := w.createOwner()
				change = func(s *corev1.Secret) {
					s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
				}
			}
			w.replicate(source.secret(), change)
			version := w.secret().ResourceVersion
			w.create(nil)
			w.rest()
			w.stalled(v1alpha1.SecretConflictReason, "is not owned by this DGbotAPIKey")
			if w.secret().ResourceVersion != version || len(w.records()) != 0 {
				t.Fatalf("the replica was written, or there are records: %d", len(w.records()))
			}
			if name == "with an owner" {
				return // the operator waits for garbage collection, which has no reason to take it
			}
			if err := live.Delete(t.Context(), source.key()); err != nil {
				t.Fatal(err)
			}
			w.rest()
			if w.ready().Reason != v1alpha1.IssuedReason || w.secret().ResourceVersion == version {
				t.Errorf("with the other key gone: %+v", w.ready())
			}
		})
	}
}

// inOneNamespace reads like an operator that may read nothing of ours in other namespaces.
func (w *fixture) inOneNamespace() client.WithWatch {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: v1alpha1.GroupVersion.Group}, "", errors.New("no such right"))
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if name.Namespace != w.Name && name.Namespace != "" {
				return forbidden
			}
			return c.Get(ctx, name, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if in := (&client.ListOptions{}).ApplyOptions(options).Namespace; in != w.Name {
				return forbidden
			}
			return c.List(ctx, list, options...)
		},
	})
}

// TestReconcile_WithoutProofASecretIsForeign: an operator that may not look into other namespaces takes over only what is known to come
// from its own.
func TestReconcile_WithoutProofASecretIsForeign(t *testing.T) {
	for name, change := range map[string]func(*corev1.Secret){"with its annotations": nil, "without its annotations": withoutAnnotations} {
		t.Run(name, func(t *testing.T) {
			source, w := newFixture(t), newFixture(t)
			source.create(nil)
			source.rest()
			w.replicate(source.secret(), change)
			w.create(nil)
			reads := w.inOneNamespace()
			operator := w.operator(reads)
			operator.Live = reads
			w.restWith(operator)
			w.stalled(v1alpha1.SecretConflictReason, "is not owned by this DGbotAPIKey")
			w.nothingMinted()
		})
	}
	t.Run("of its own namespace", func(t *testing.T) {
		w := newFixture(t)
		w.create(nil)
		w.rest()
		w.editSecret(func(s *corev1.Secret) { s.OwnerReferences, s.Labels[v1alpha1.APIKeyLabel] = nil, "gone" })
		reads := w.inOneNamespace()
		operator := w.operator(reads)
		operator.Live = reads
		w.restWith(operator)
		if w.ready().Reason != v1alpha1.IssuedReason || w.published().Spec.Revision != 2 {
			t.Errorf("Ready is %+v", w.ready())
		}
	})
}

// TestReconcile_LeavesAReplicaAloneWhileTheCacheCannotBeListed: the replica names a place where its owner is not, and only the cache
// knows the right one. A cache that cannot be listed does not prove that there is no owner.
func TestReconcile_LeavesAReplicaAloneWhileTheCacheCannotBeListed(t *testing.T) {
	for name, answer := range map[string]error{
		"no answer in time": apierrors.NewTimeoutError("the cache is not filled", 1),
		"an internal error": apierrors.NewInternalError(errors.New("the cache is broken")),
		"another error":     errors.New("the cache is closed"),
	} {
		t.Run(name, func(t *testing.T) {
			source, w := newFixture(t), newFixture(t)
			source.create(nil)
			source.rest()
			w.replicate(source.secret(), func(s *corev1.Secret) { s.Annotations[v1alpha1.OwnerAnnotation] = w.Name + "/elsewhere" })
			version := w.secret().ResourceVersion
			w.create(nil)
			broken := interceptor.NewClient(live, interceptor.Funcs{
				List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
					if _, ok := list.(*v1alpha1.DGbotAPIKeyList); ok {
						return answer
					}
					return c.List(ctx, list, options...)
				},
			})
			// Some failures are errors of the queue, and some are a condition.
			_, err := w.operator(broken).Reconcile(t.Context(), w.request())
			if err == nil && w.ready().Reason != v1alpha1.ObservationFailedReason {
				t.Errorf("the failed list is not reported: Ready is %+v", w.ready())
			}
			if w.secret().ResourceVersion != version || len(w.records()) != 0 {
				t.Fatalf("the replica was written, or there are records: %d", len(w.records()))
			}
			w.rest()
			w.stalled(v1alpha1.SecretConflictReason, "is not owned by this DGbotAPIKey")
		})
	}
}

// TestChatbot_LeavesReplicasAlone: the same for HMAC secrets and widgets.
func TestChatbot_LeavesReplicasAlone(t *testing.T) {
	source, w := newFixture(t), newFixture(t)
	source.createBot(botName, func(b *v1alpha1.DGbotChatbot) { b.Spec.IdentityVerification = &v1alpha1.IdentityVerification{} })
	source.restBots(live, botName)
	w.replicate(source.hmacSecret(), nil)
	version := w.hmacSecret().ResourceVersion
	w.createBot(botName, func(b *v1alpha1.DGbotChatbot) { b.Spec.IdentityVerification = &v1alpha1.IdentityVerification{} })
	w.restBots(live, botName)
	if w.botReason(botName) != v1alpha1.SecretConflictReason || w.hmacSecret().ResourceVersion != version {
		t.Errorf("Ready is %s", w.botReason(botName))
	}
	widget := source.widget()
	other := newFixture(t)
	widget.ObjectMeta = metav1.ObjectMeta{Namespace: other.Name, Name: widget.Name, Labels: widget.Labels, Annotations: widget.Annotations}
	if err := live.Create(t.Context(), widget); err != nil {
		t.Fatal(err)
	}
	other.createBot(botName, nil)
	other.restBots(live, botName)
	if other.botReason(botName) != v1alpha1.ConfigMapConflictReason {
		t.Errorf("Ready is %s", other.botReason(botName))
	}
}

// TestReconcile_ExportsNoSecret: labels and annotations by which replicators copy Secrets are not set, also where the key has them from
// before the API server rejected them, and those that were set are removed.
func TestReconcile_ExportsNoSecret(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Secret = &v1alpha1.SecretSpec{Template: &v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{"team": "crm"}}}
	})
	w.rest()
	const name = "replicator.v1.mittwald.de/replicate-to"
	w.editSecret(func(s *corev1.Secret) {
		s.Annotations[name], s.Annotations[v1alpha1.TemplateAnnotation] = ".*", `{"annotations":["`+name+`","team"]}`
	})
	w.rest()
	if _, ok := w.secret().Annotations[name]; ok {
		t.Errorf("the Secret keeps annotations %v", w.secret().Annotations)
	}
}
