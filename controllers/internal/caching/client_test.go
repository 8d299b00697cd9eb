// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestToleranceOf names what still works for each cached kind, and which caches may be missing.
func TestToleranceOf(t *testing.T) {
	for cached := range cachedKinds {
		kind, gvk := cached.Kind, cached.WithVersion("v1")
		everywhere := toleranceOf(gvk, "", nil)
		if consequences[kind] == "" || kind != "Lease" && !strings.HasSuffix(everywhere.consequence, consequences[kind]) {
			t.Errorf("%s: %q", kind, everywhere.consequence)
		}
		ownsRequests := kind == v1alpha1.APIKeyKind || kind == v1alpha1.ChatbotKind
		if ownsRequests && !strings.Contains(everywhere.consequence, "not noticed, revocation and deletion") {
			t.Errorf("a revocation is a change of a %s, and the log promises it: %q", kind, everywhere.consequence)
		}
		for namespace, want := range map[string]bool{"": kind == "Lease", "support": true, v1alpha1.IdentityNamespace: cached.Group != ""} {
			if got := toleranceOf(gvk, namespace, []string{"support"}).forbidden; got != want {
				t.Errorf("%s in namespace %q: tolerated %t, want %t", kind, namespace, got, want)
			}
		}
	}
}

// TestCachedClient reads from the API server what a cache cannot answer, and nothing else.
func TestCachedClient(t *testing.T) {
	watched := []string{"support"}
	lease := schema.GroupVersionKind{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"}
	secret, key := corev1.SchemeGroupVersion.WithKind("Secret"), v1alpha1.GroupVersion.WithKind("DGbotAPIKey")
	for name, test := range map[string]struct {
		kind              schema.GroupVersionKind
		in                string
		watched           []string
		failure           error
		filled            bool
		getLive, listLive bool
	}{
		"filled":                              {kind: secret, filled: true},
		"filled, and out of date":             {kind: secret, filled: true, failure: errDecrypt},
		"not listed yet":                      {kind: secret, getLive: true, listLive: true},
		"undecryptable":                       {kind: secret, failure: errDecrypt, getLive: true, listLive: true},
		"forbidden":                           {kind: secret, failure: errNoRight, getLive: true, listLive: true},
		"forbidden in the namespace":          {kind: secret, in: "support", watched: watched, failure: errNoRight, getLive: true},
		"undecryptable in the namespace":      {kind: secret, in: "support", watched: watched, failure: errDecrypt, getLive: true, listLive: true},
		"forbidden in another namespace":      {kind: secret, in: v1alpha1.IdentityNamespace, watched: watched, failure: errNoRight, listLive: true},
		"Leases that may not be read":         {kind: lease, in: "support", failure: errNoRight},
		"Leases that cannot be read":          {kind: lease, in: "support", failure: errDecrypt, getLive: true, listLive: true},
		"keys that cannot be read":            {kind: key, failure: errDecrypt, getLive: true, listLive: true},
		"keys of a namespace, which may not.": {kind: key, in: "support", watched: watched, failure: errNoRight, getLive: true},
	} {
		t.Run(name, func(t *testing.T) {
			state := newCacheState(test.kind, newHistory(nil).clock, func() bool { return test.filled })
			state.namespace, state.tolerance, state.failure = test.in, toleranceOf(test.kind, test.in, test.watched), test.failure
			fromCache, fromLive := countingReads(t), countingReads(t)
			cached := &cachedClient{Client: fromCache.client, live: fromLive.client, caches: &Caches{states: []*cacheState{state}}, indexes: []string{"secretName"}}
			object, list := &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{}
			object.SetGroupVersionKind(test.kind)
			list.SetGroupVersionKind(test.kind.GroupVersion().WithKind(test.kind.Kind + "List"))
			_ = cached.Get(t.Context(), types.NamespacedName{Namespace: "support", Name: "crm"}, object)
			_ = cached.List(t.Context(), list)
			if got := fromLive.gets == 1; got != test.getLive || fromLive.gets+fromCache.gets != 1 {
				t.Errorf("an object was read from the API server: %v, want %v", got, test.getLive)
			}
			if got := fromLive.lists == 1; got != test.listLive || fromLive.lists+fromCache.lists != 1 {
				t.Errorf("the list was read from the API server: %v, want %v", got, test.listLive)
			}
			_ = cached.List(t.Context(), list, client.MatchingFields{"secretName": "crm"})
			if fromCache.lists == 0 {
				t.Error("a list by an index of the cache was read from the API server, which does not know it")
			}
		})
	}
}

// countedReads is a client that has no objects, and counts its reads.
type countedReads struct {
	client      client.Client
	gets, lists int
}

func countingReads(t *testing.T) *countedReads {
	t.Helper()
	c := &countedReads{}
	c.client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(testScheme(t)).Build(), interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, name client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			c.gets++
			return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			c.lists++
			return nil
		},
	})
	return c
}

// testScheme returns the kinds that the manager caches.
func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}
