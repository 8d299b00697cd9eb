// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
)

// cachedInformer is an informer whose cache can be used before it is filled.
type cachedInformer struct {
	toolscache.SharedIndexInformer
	state   *cacheState
	watched []string
}

// namespaceQuestion is not an object: a transformation returns the namespace that it is configured for. cache.Options has one constructor
// of informers for all namespaces, and a transformation for each.
type namespaceQuestion struct{ namespace string }

// TransformIn returns the transformation of the objects of a namespace.
func TransformIn(namespace string) toolscache.TransformFunc {
	return func(object any) (any, error) {
		if question, ok := object.(*namespaceQuestion); ok {
			question.namespace = namespace
			return object, nil
		}
		return Strip(object)
	}
}

// SetTransform also finds the namespace of the objects.
func (i *cachedInformer) SetTransform(transform toolscache.TransformFunc) error {
	if transform != nil {
		var question namespaceQuestion
		if _, err := transform(&question); err != nil {
			return err
		}
		i.state.place(question.namespace, toleranceOf(i.state.kind, question.namespace, i.watched))
	}
	return i.SharedIndexInformer.SetTransform(transform)
}

// RunWithContext returns when the informer has stopped.
func (i *cachedInformer) RunWithContext(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() { i.state.awaitFirstList(ctx) })
	i.SharedIndexInformer.RunWithContext(ctx)
	cancel()
	waiting.Wait()
}

// HasSynced reports whether controllers may start. HasSyncedChecker, which they do not use, still waits for a complete list.
func (i *cachedInformer) HasSynced() bool { return i.state.usable() }

// AddEventHandlerWithOptions adds a handler that counts as synced while the cache is not filled, as the informer does.
func (i *cachedInformer) AddEventHandlerWithOptions(handler toolscache.ResourceEventHandler, options toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	registration, err := i.SharedIndexInformer.AddEventHandlerWithOptions(handler, options)
	if err != nil {
		return nil, err
	}
	return &cachedRegistration{registration, i.state}, nil
}

// RemoveEventHandler removes a handler.
func (i *cachedInformer) RemoveEventHandler(registration toolscache.ResourceEventHandlerRegistration) error {
	if cached, ok := registration.(*cachedRegistration); ok {
		registration = cached.ResourceEventHandlerRegistration
	}
	return i.SharedIndexInformer.RemoveEventHandler(registration)
}

type cachedRegistration struct {
	toolscache.ResourceEventHandlerRegistration
	state *cacheState
}

// HasSynced reports whether the handler has seen what the cache was filled with.
func (r *cachedRegistration) HasSynced() bool {
	return r.ResourceEventHandlerRegistration.HasSynced() || !r.state.filled() && r.state.usable()
}
