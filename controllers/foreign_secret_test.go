// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
)

// requestCount counts reads.
type requestCount struct{ gets, lists int }

func counting(reads client.WithWatch, count *requestCount) client.WithWatch {
	return interceptor.NewClient(reads, interceptor.Funcs{
		Get: func(ctx context.Context, next client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			count.gets++
			return next.Get(ctx, name, into, options...)
		},
		List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			count.lists++
			return next.List(ctx, list, options...)
		},
	})
}

// TestForeignSecret_OneReadServesAllKeys: many keys name one Secret that none of them owns. Looking at all of them again, as happens each
// minute and when the Secret changes, takes no live read where the cache shows the Secret, one where it does not, and never a list.
func TestForeignSecret_OneReadServesAllKeys(t *testing.T) {
	const keys = 12
	for name, test := range map[string]struct {
		labels map[string]string
		owned  bool
		most   requestCount
	}{
		"labels of the operator, an owner of another kind": {map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy, v1alpha1.APIKeyLabel: "another"}, true, requestCount{}},
		"labels of the operator, no uid":                   {map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy}, true, requestCount{}},
		"no labels":                                        {nil, false, requestCount{gets: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: "shared", Labels: test.labels}}
			if test.owned {
				owner := w.createOwner()
				secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(live.Create(t.Context(), secret))
			var count requestCount
			cached := showing(live, v1alpha1.ManagedByLabel)
			operator := w.operator(cached)
			operator.Live = counting(live, &count)
			reconcileAll := func() {
				for i := range keys {
					_, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: fmt.Sprintf("key-%d", i)}})
					must(err)
				}
			}
			for i := range keys {
				must(live.Create(t.Context(), &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: fmt.Sprintf("key-%d", i)},
					Spec: v1alpha1.DGbotAPIKeySpec{Label: "CRM", Environment: "production", Secret: &v1alpha1.SecretSpec{Name: "shared"}}}))
			}
			reconcileAll()
			reconcileAll()
			w.advance(2 * time.Minute)
			reconcileAll() // a Secret with another owner counts as in conflict from now on
			for round, touch := range []bool{false, true} {
				if touch {
					must(live.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"touched":"yes"}}}`))))
				}
				w.advance(time.Minute)
				count = requestCount{}
				reconcileAll()
				if count.gets > test.most.gets || count.lists > test.most.lists {
					t.Errorf("round %d: %d keys took %d live reads and %d lists, want at most %d and %d", round, keys, count.gets, count.lists, test.most.gets, test.most.lists)
				}
			}
			for i := range keys {
				key := &v1alpha1.DGbotAPIKey{}
				must(live.Get(t.Context(), types.NamespacedName{Namespace: w.Name, Name: fmt.Sprintf("key-%d", i)}, key))
				if ready := readyOf(key); ready == nil || ready.Reason != v1alpha1.SecretConflictReason {
					t.Errorf("key %d is %+v, want %s", i, ready, v1alpha1.SecretConflictReason)
				}
			}
			// The Secret goes: the first key that is looked at is issued.
			must(live.Delete(t.Context(), secret))
			w.advance(time.Minute)
			reconcileAll()
			key := &v1alpha1.DGbotAPIKey{}
			must(live.Get(t.Context(), types.NamespacedName{Namespace: w.Name, Name: "key-0"}, key))
			if key.Status.Current == nil {
				t.Errorf("the Secret is gone, and the key is not issued: %+v", readyOf(key))
			}
		})
	}
}

// showing reads Secrets as from a cache that holds those with a label.
func showing(reads client.WithWatch, label string) client.WithWatch {
	return interceptor.NewClient(reads, interceptor.Funcs{
		Get: func(ctx context.Context, next client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			if err := next.Get(ctx, name, into, options...); err != nil {
				return err
			}
			if _, isMetadata := into.(*metav1.PartialObjectMetadata); !isMetadata {
				return nil
			}
			if into.GetObjectKind().GroupVersionKind().Kind == "Secret" && into.GetLabels()[label] == "" {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name.Name)
			}
			_, err := caching.Strip(into)
			return err
		},
	})
}
