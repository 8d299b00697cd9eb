// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/internal/lifecycle"
)

// TestKeysNaming_ReturnsThoseThatPublishUnderTheName: published.WakeOwners wakes no other key.
func TestKeysNaming_ReturnsThoseThatPublishUnderTheName(t *testing.T) {
	key := func(namespace, name, secret string) *v1alpha1.DGbotAPIKey {
		return &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       v1alpha1.DGbotAPIKeySpec{Environment: "production", Secret: &v1alpha1.SecretSpec{Name: secret}},
		}
	}
	byDefault := key("support", "by-default", "")
	byDefault.Spec.Secret = nil
	r := &Reconciler{Client: indexed(t, key("support", "a", "shared"), key("support", "b", "shared"), key("support", "c", "another"), key("sales", "a", "shared"), byDefault)}
	for secret, want := range map[string][]string{
		"support/shared": {"a", "b"}, "sales/shared": {"a"}, "support/" + lifecycle.SecretName(byDefault): {"by-default"}, "support/unnamed": nil,
	} {
		object := read.Metadata("Secret")
		object.Namespace, object.Name, _ = strings.Cut(secret, "/")
		var got []string
		for _, key := range r.keysNaming(t.Context(), object) {
			got = append(got, key.Name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("Secret %s is named by %q, want %q", secret, got, want)
		}
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
