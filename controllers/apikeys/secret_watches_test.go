// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue/queuetest"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/internal/lifecycle"
)

// TestWakeOwners_WakesTheOwningKeyFirst: of the keys that name a Secret only its owner is woken by every change of it. The others wait
// for it to go.
func TestWakeOwners_WakesTheOwningKeyFirst(t *testing.T) {
	key := func(name string) *v1alpha1.DGbotAPIKey {
		return &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name, UID: types.UID("uid-" + name)},
			Spec:       v1alpha1.DGbotAPIKeySpec{Environment: "production", Secret: &v1alpha1.SecretSpec{Name: "shared"}},
		}
	}
	elsewhere := key("elsewhere")
	elsewhere.Spec.Secret.Name = "another"
	r := &Reconciler{Client: indexed(t, key("owner"), key("other"), key("third"), elsewhere)}
	version := func(change func(*metav1.PartialObjectMetadata)) *metav1.PartialObjectMetadata {
		secret := read.Metadata("Secret")
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
			queue := queuetest.NewRecorder()
			wake := published.WakeOwners(published.KeyOwner, r.keysNaming)
			switch {
			case test.before == nil:
				wake.Create(t.Context(), event.CreateEvent{Object: test.after}, queue)
			case test.after == nil:
				wake.Delete(t.Context(), event.DeleteEvent{Object: test.before}, queue)
			default:
				wake.Update(t.Context(), event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}, queue)
			}
			if len(queue.Now) != test.now || len(queue.Later) != test.later {
				t.Errorf("woken at once: %v, later: %v; want %d and %d", queue.Now, queue.Later, test.now, test.later)
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
		WithIndex(&v1alpha1.DGbotAPIKey{}, rules.EnvironmentIndex, of(func(key *v1alpha1.DGbotAPIKey) string { return key.Spec.Environment })).
		Build()
}
