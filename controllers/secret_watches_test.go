// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
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
			w := newWorld(t)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "shared", Labels: test.labels}}
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
					_, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: fmt.Sprintf("key-%d", i)}})
					must(err)
				}
			}
			for i := range keys {
				must(live.Create(t.Context(), &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprintf("key-%d", i)},
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
				must(live.Get(t.Context(), types.NamespacedName{Namespace: w.namespace, Name: fmt.Sprintf("key-%d", i)}, key))
				if ready := readyOf(key); ready == nil || ready.Reason != v1alpha1.SecretConflictReason {
					t.Errorf("key %d is %+v, want %s", i, ready, v1alpha1.SecretConflictReason)
				}
			}
			// The Secret goes: the first key that is looked at is issued.
			must(live.Delete(t.Context(), secret))
			w.advance(time.Minute)
			reconcileAll()
			key := &v1alpha1.DGbotAPIKey{}
			must(live.Get(t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "key-0"}, key))
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
			_, err := stripForCache(into)
			return err
		},
	})
}

// recordingQueue records what is added at once and what later.
type recordingQueue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	now, later map[string]bool
}

func newRecordingQueue() *recordingQueue {
	return &recordingQueue{now: map[string]bool{}, later: map[string]bool{}}
}

func (q *recordingQueue) Add(request reconcile.Request) { q.now[request.Name] = true }
func (q *recordingQueue) AddAfter(request reconcile.Request, _ time.Duration) {
	q.later[request.Name] = true
}

// TestWakeKeysOfSecret_WakesTheOwnerFirst: of the keys that name a Secret only its owner is woken by every change of it. The others wait
// for it to go.
func TestWakeKeysOfSecret_WakesTheOwnerFirst(t *testing.T) {
	key := func(name string) *v1alpha1.DGbotAPIKey {
		return &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name, UID: types.UID("uid-" + name)},
			Spec:       v1alpha1.DGbotAPIKeySpec{Environment: "production", Secret: &v1alpha1.SecretSpec{Name: "shared"}},
		}
	}
	elsewhere := key("elsewhere")
	elsewhere.Spec.Secret.Name = "another"
	r := &APIKeyReconciler{Client: indexed(t, key("owner"), key("other"), key("third"), elsewhere)}
	version := func(change func(*metav1.PartialObjectMetadata)) *metav1.PartialObjectMetadata {
		secret := metadataOf("Secret")
		secret.Namespace, secret.Name, secret.UID = "support", "shared", "secret"
		secret.Labels = map[string]string{v1alpha1.APIKeyLabel: "uid-owner"}
		if change != nil {
			change(secret)
		}
		return secret
	}
	plain := version(nil)
	touched := version(func(s *metav1.PartialObjectMetadata) { s.ResourceVersion = "8" })
	moved := version(func(s *metav1.PartialObjectMetadata) { s.Labels[v1alpha1.APIKeyLabel] = "uid-other" })
	foreign := version(func(s *metav1.PartialObjectMetadata) { s.Labels[v1alpha1.APIKeyLabel] = "another" })
	foreignOwned := version(func(s *metav1.PartialObjectMetadata) {
		s.Labels[v1alpha1.APIKeyLabel] = "another"
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}}
	})
	for name, test := range map[string]struct {
		before, after *metav1.PartialObjectMetadata
		now, later    int
	}{
		"created":                 {nil, plain, 1, 2},
		"touched":                 {plain, touched, 1, 0},
		"moved to another key":    {plain, moved, 2, 1},
		"foreign and touched":     {foreign, version(func(s *metav1.PartialObjectMetadata) { s.Labels = foreign.Labels; s.ResourceVersion = "9" }), 0, 0},
		"foreign, another owner":  {foreign, foreignOwned, 0, 3},
		"no longer the key's own": {plain, foreign, 1, 2},
		"gone":                    {plain, nil, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			queue := newRecordingQueue()
			wake := r.wakeKeysOfSecret()
			switch {
			case test.before == nil:
				wake.Create(t.Context(), event.CreateEvent{Object: test.after}, queue)
			case test.after == nil:
				wake.Delete(t.Context(), event.DeleteEvent{Object: test.before}, queue)
			default:
				wake.Update(t.Context(), event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}, queue)
			}
			if len(queue.now) != test.now || len(queue.later) != test.later {
				t.Errorf("woken at once: %v, later: %v; want %d and %d", queue.now, queue.later, test.now, test.later)
			}
		})
	}
}

// indexed returns a client with some objects, which has the indexes of the caches.
func indexed(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	of := func(value func(*v1alpha1.DGbotAPIKey) string) client.IndexerFunc {
		return func(o client.Object) []string {
			key, ok := o.(*v1alpha1.DGbotAPIKey)
			if !ok {
				t.Fatalf("%T is indexed as a key", o)
			}
			return []string{value(key)}
		}
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&v1alpha1.DGbotAPIKey{}, secretNameIndex, of(lifecycle.SecretName)).
		WithIndex(&v1alpha1.DGbotAPIKey{}, environmentField, of(func(key *v1alpha1.DGbotAPIKey) string { return key.Spec.Environment })).
		Build()
}

// TestDescribeWidget_WaitsOnlyForGarbageCollection: the ConfigMap of an earlier chatbot of the name is waited for unless another owner
// keeps it.
func TestDescribeWidget_WaitsOnlyForGarbageCollection(t *testing.T) {
	seen := &seenChatbot{}
	seen.Chatbot = &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "bot", UID: "new"}}
	widget := &corev1.ConfigMap{}
	own(widget, &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Name: "bot", UID: "old"}}, v1alpha1.ChatbotKind)
	for _, want := range []lifecycle.WidgetState{lifecycle.WidgetCollectable, lifecycle.WidgetForeign} {
		if err := (&ChatbotReconciler{}).describeWidget(t.Context(), seen, widget); err != nil || seen.Widget != want {
			t.Errorf("with %d owners: %s (%v), want %s", len(widget.OwnerReferences), seen.Widget, err, want)
		}
		widget.OwnerReferences = append(widget.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"})
	}
}
