// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"dgbot.io/key-operator/api/v1alpha1"
)

// caches knows which caches of the manager could be filled, and why the others could not.
//
// controller-runtime starts no controller before all caches are filled, and ends the process where one is not after two minutes.
// One Secret that cannot be decrypted, which makes the API server fail the list of all, would keep every key from being revoked.
// So the informer of a kind that has never been listed counts as filled, and as empty (see patientReads); until it is, reads of
// that kind go to the API server (see cachedClient), and the log and /readyz name it.
//
// The alternative, sources that a controller does not wait for, does not work: the sources that it does wait for are filled when
// all informers of the cache are, and a read of a cache that is not filled blocks.
type caches struct {
	scheme *runtime.Scheme
	// namespaced: the manager works in some namespaces only, see patientReads.tolerates.
	namespaced bool

	mutex sync.Mutex
	reads []*patientReads
}

// newInformer makes an informer that is filled when it can be.
func (c *caches) newInformer(reads toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	kind, err := apiutil.GVKForObject(example, c.scheme)
	if err != nil {
		return toolscache.NewSharedIndexInformer(reads, example, resync, indexers) // impossible: the cache has found its kind
	}
	patient := newPatientReads(reads, kind)
	_, leases := example.(*coordinationv1.Lease)
	switch {
	case leases:
		patient.toleratesForbidden, patient.advice = true, leasesRefused
	case c.namespaced && !clusterScoped[kind.Kind]:
		patient.toleratesForbidden, patient.advice = true, namespaceRefused
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reads = append(c.reads, patient)
	return toolscache.NewSharedIndexInformer(patient, example, resync, indexers)
}

// clusterScoped are the cached kinds that --watch-namespaces does not narrow.
var clusterScoped = map[string]bool{v1alpha1.EnvironmentKind: true, "Namespace": true}

func (c *caches) of(kind schema.GroupVersionKind) []*patientReads {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(c.reads), func(p *patientReads) bool { return p.kind != kind })
}

// cacheLogInterval is how often a cache that cannot be filled is logged.
const cacheLogInterval = time.Minute

// Start logs once a minute which caches cannot be read. The first failure is logged when it happens.
func (c *caches) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		c.mutex.Lock()
		reads := slices.Clone(c.reads)
		c.mutex.Unlock()
		for _, patient := range reads {
			patient.logAgain(ctx)
		}
	}, cacheLogInterval)
	return nil
}

// NeedLeaderElection reports false: an instance that waits to become the leader fills caches as well.
func (c *caches) NeedLeaderElection() bool { return false }

// cachedKinds are the kinds that the manager caches. /readyz has a check for each: only the names of failed checks are shown.
var cachedKinds = map[string][]string{
	"keys.dgbot.io":       {"DGbotAPIKey", "DGbotAPIKeyRecord", "DGbotChatbot", "DGbotEnvironment"},
	"":                    {"Secret", "ConfigMap", "Namespace"},
	"coordination.k8s.io": {"Lease"},
}

// addChecks registers the readiness checks of the caches, named after their resources.
func (c *caches) addChecks(mgr ctrl.Manager) error {
	for group, kinds := range cachedKinds {
		for _, kind := range kinds {
			name, _ := apimeta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: group, Kind: kind})
			err := mgr.AddReadyzCheck(name.Resource, func(*http.Request) error { return c.check(schema.GroupKind{Group: group, Kind: kind}) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// check returns an error while the objects of a kind cannot be listed or watched.
func (c *caches) check(kind schema.GroupKind) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, patient := range c.reads {
		if failure := patient.failing(); failure != nil && patient.kind.GroupKind() == kind && !patient.tolerates(failure) {
			return fmt.Errorf("%s cannot be cached: %w", patient.resource, failure)
		}
	}
	return nil
}

// cachedClient reads from the caches, and from the API server what a cache does not know because it was never filled.
type cachedClient struct {
	client.Client
	live   client.Reader
	caches *caches
}

// Get reads an object. Where some namespaces of the kind could not be read, only the API server may report it missing.
func (c *cachedClient) Get(ctx context.Context, name types.NamespacedName, into client.Object, options ...client.GetOption) error {
	all, some := c.unfilled(into)
	live := func(ctx context.Context) error { return c.live.Get(ctx, name, into, options...) }
	if all {
		return bounded(ctx, live)
	}
	err := c.Client.Get(ctx, name, into, options...)
	if some && apierrors.IsNotFound(err) {
		return bounded(ctx, live)
	}
	return err
}

// List lists objects.
func (c *cachedClient) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	if all, _ := c.unfilled(into); all {
		return bounded(ctx, func(ctx context.Context) error { return c.live.List(ctx, into, options...) })
	}
	return c.Client.List(ctx, into, options...)
}

// unfilled reports whether the caches of an object's kind, or of a list's, were never filled. A namespace that may not be read, of
// several, leaves the caches of the others as they are.
func (c *cachedClient) unfilled(object runtime.Object) (all, some bool) {
	kind, err := apiutil.GVKForObject(object, c.Scheme())
	if err != nil {
		return false, false // the read fails with it
	}
	kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	for _, patient := range c.caches.of(kind) {
		failure := patient.unfilled()
		switch {
		case failure == nil:
		case !patient.tolerates(failure):
			all = true
		case kind.Group != coordinationv1.GroupName:
			some = true
		}
	}
	return all, all || some
}
