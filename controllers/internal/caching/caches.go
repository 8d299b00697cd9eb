// SPDX-License-Identifier: Apache-2.0

// Package caching defines what the caches of the manager hold, and what happens while they cannot be filled or are behind the API server.
package caching

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Caches records which caches of the manager are filled, and why the others are not.
//
// controller-runtime starts no controller before all caches are filled, and ends the process if one is not filled after two minutes. One
// Secret that cannot be decrypted makes the API server fail the list of all Secrets; the manager could then revoke no key.
// So an informer also counts as synced when its first list failed, or takes too long (see cacheState). The informer continues to list.
// Until its cache is filled, reads of its objects go to the API server (see cachedClient), and the log and /readyz name it.
// Sources that a controller does not wait for are no alternative: the sources that it does wait for are synced when all informers of the
// cache are, and a read of a cache that is not synced blocks.
type Caches struct {
	scheme  *runtime.Scheme
	history *history
	// watched are the namespaces of this manager; none for all.
	watched []string

	mutex  sync.Mutex
	states []*cacheState
}

// New returns the caches of a manager that works in some namespaces; none for all.
func New(scheme *runtime.Scheme, watched []string) *Caches {
	return &Caches{scheme: scheme, history: newHistory(scheme), watched: watched}
}

// Informers is a cache.Options.NewInformer whose informers are known to the caches. They read lists in pages.
func (c *Caches) Informers() func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer {
	return inPages(c.scheme, c.newInformer)
}

// AddTo makes the manager report caches that are not filled, in its log and in its readiness, and end when the history behind a watch was
// replaced.
func (c *Caches) AddTo(mgr ctrl.Manager) error {
	for _, runnable := range []manager.Runnable{c, c.history} {
		if err := mgr.Add(runnable); err != nil {
			return err
		}
	}
	return c.addChecks(mgr)
}

// Live returns a reader of the API server that compares what it reads with the caches.
func (c *Caches) Live(reader client.Reader) client.Reader { return c.history.reader(reader) }

// Client returns a client that reads from the caches, and from the live reader while a cache is not filled. It reads a list by one of the
// indexes from the caches only, because the API server does not have these indexes.
func (c *Caches) Client(cached client.Client, live client.Reader, indexes ...string) client.Client {
	return &cachedClient{Client: cached, live: live, caches: c, indexes: indexes}
}

// newInformer is a cache.Options.NewInformer. It registers its informers with the caches and with the history.
func (c *Caches) newInformer(source toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	kind, err := apiutil.GVKForObject(example, c.scheme)
	if err != nil {
		return toolscache.NewSharedIndexInformer(source, example, resync, indexers) // impossible: the cache has found its kind
	}
	reads := &cacheReads{ListerWatcher: source, source: toolscache.ToListerWatcherWithContext(source), clock: c.history.clock}
	informer := &cachedInformer{SharedIndexInformer: toolscache.NewSharedIndexInformer(reads, example, resync, indexers), watched: c.watched}
	informer.state = newCacheState(kind, c.history.clock, informer.SharedIndexInformer.HasSynced)
	informer.state.place("", toleranceOf(kind, "", c.watched))
	reads.state, reads.history = informer.state, c.history.follow(kind.GroupKind(), informer.SharedIndexInformer)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.states = append(c.states, informer.state)
	return informer
}

func (c *Caches) of(kind schema.GroupKind) []*cacheState {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(c.states), func(s *cacheState) bool { return s.kind.GroupKind() != kind })
}

// cacheLogInterval is how often a cache that cannot be filled is logged.
const cacheLogInterval = time.Minute

// Start logs once a minute which caches cannot be read. The first failure is logged when it happens.
func (c *Caches) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		c.mutex.Lock()
		states := slices.Clone(c.states)
		c.mutex.Unlock()
		for _, state := range states {
			state.logAgain(ctx)
		}
	}, cacheLogInterval)
	return nil
}

// NeedLeaderElection reports false: an instance that waits to become the leader fills caches as well.
func (c *Caches) NeedLeaderElection() bool { return false }

// cachedKinds are the resources of the kinds that the manager caches. /readyz has a check for each: it shows only the names of checks
// that fail.
var cachedKinds = map[schema.GroupKind]string{
	{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.APIKeyKind}:       "dgbotapikeys",
	{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.APIKeyRecordKind}: "dgbotapikeyrecords",
	{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.ChatbotKind}:      "dgbotchatbots",
	{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.EnvironmentKind}:  "dgbotenvironments",
	{Kind: "Secret"}:    "secrets",
	{Kind: "ConfigMap"}: "configmaps",
	{Kind: "Namespace"}: "namespaces",
	{Group: coordinationv1.GroupName, Kind: "Lease"}: "leases",
}

// addChecks registers the readiness checks of the caches, named after their resources.
func (c *Caches) addChecks(mgr ctrl.Manager) error {
	for kind, resource := range cachedKinds {
		if err := mgr.AddReadyzCheck(resource, func(*http.Request) error { return c.check(kind) }); err != nil {
			return err
		}
	}
	return nil
}

// check returns an error while a cache of a kind is not filled, or out of date.
func (c *Caches) check(kind schema.GroupKind) error {
	for _, state := range c.of(kind) {
		if err := state.check(); err != nil {
			return err
		}
	}
	return nil
}
