// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"dgbot.io/key-operator/controllers/internal/read"
)

// cachedClient reads from the caches, and from the API server while a cache is not filled.
type cachedClient struct {
	client.Client
	live   client.Reader
	caches *Caches
	// indexes are those that only the caches have. What a list by one of them lacks while a cache is not filled is reconciled once it is:
	// they map the event of one object to others, which then have an event of their own.
	indexes []string
}

// Get reads an object.
func (c *cachedClient) Get(ctx context.Context, name types.NamespacedName, into client.Object, options ...client.GetOption) error {
	if c.unfilled(into, name.Namespace) {
		return read.Bounded(ctx, func(ctx context.Context) error { return c.live.Get(ctx, name, into, options...) })
	}
	return c.Client.Get(ctx, name, into, options...)
}

// List lists objects.
func (c *cachedClient) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	selection := (&client.ListOptions{}).ApplyOptions(options)
	if c.unfilled(into, selection.Namespace) && !c.selectsByCacheIndex(selection) {
		return read.Bounded(ctx, func(ctx context.Context) error { return c.live.List(ctx, into, options...) })
	}
	return c.Client.List(ctx, into, options...)
}

func (c *cachedClient) selectsByCacheIndex(selection *client.ListOptions) bool {
	return selection.FieldSelector != nil && slices.ContainsFunc(selection.FieldSelector.Requirements(), func(r fields.Requirement) bool {
		return slices.Contains(c.indexes, r.Field)
	})
}

// unfilled reports whether a read of a kind, in a namespace or in all, needs a cache that is not filled. A list in all namespaces omits
// those that may not be read; so does a read of Leases, which then count as missing.
func (c *cachedClient) unfilled(object runtime.Object, namespace string) bool {
	kind, err := apiutil.GVKForObject(object, c.Scheme())
	if err != nil {
		return false // the read fails with it
	}
	kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	return slices.ContainsFunc(c.caches.of(kind.GroupKind()), func(s *cacheState) bool {
		missing := s.tolerated() && (namespace == "" || kind.Group == coordinationv1.GroupName)
		return s.serves(namespace) && !missing && !s.filled()
	})
}

// Filled reports whether reads of these kinds in a namespace are served from memory. If they go to the API server, a queue must not wait
// for them: it holds its lock while it reads.
func Filled(reader client.Client, namespace string, kinds ...runtime.Object) bool {
	cached, ok := reader.(*cachedClient)
	if !ok {
		return true
	}
	for _, kind := range kinds {
		if cached.unfilled(kind, namespace) {
			return false
		}
	}
	return true
}
