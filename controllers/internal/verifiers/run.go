// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

const (
	// checkInterval is how often silent verifiers are looked at while a key waits.
	checkInterval = time.Second
	// listInterval is the least time between two live lists of Leases because there is no verifier.
	listInterval = 10 * time.Second
	// namingDelay is how long a verifier is known before keys are woken to name it whose status says that none is registered. Most verifiers
	// confirm within this time, and the status is then written once.
	namingDelay = 10 * time.Second
	// memorySpan is for how long a verifier that has stopped or is gone is remembered without its Lease, while a key waits.
	memorySpan = time.Minute
	// doubtInterval is how soon a version is asked for that a verifier reports, and nothing else does. While it does not exist, each further time
	// takes twice as long, up to listInterval.
	doubtInterval = 50 * time.Millisecond
)

// AddTo has a manager watch the Leases, and look at silent verifiers. An instance that waits to become the leader does so as well: it then knows
// since when they are silent.
func (r *Registry) AddTo(mgr ctrl.Manager) error {
	informer, err := mgr.GetCache().GetInformer(context.Background(), &coordinationv1.Lease{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching the Leases of verifiers: %w", err)
	}
	observe := func(object any) {
		if lease, ok := object.(*coordinationv1.Lease); ok && lease.Namespace == r.Namespace {
			r.Observe(lease)
		}
	}
	handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    observe,
		UpdateFunc: func(_, object any) { observe(object) },
		DeleteFunc: func(object any) {
			_, mayHaveRenewed := object.(toolscache.DeletedFinalStateUnknown)
			if key, err := toolscache.DeletionHandlingObjectToName(object); err == nil && key.Namespace == r.Namespace {
				r.observeEnd(key.Name, mayHaveRenewed)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching the Leases of verifiers: %w", err)
	}
	r.Synced, r.Cached = handle.HasSynced, mgr.GetCache()
	return mgr.Add(r)
}

// NeedLeaderElection reports false.
func (r *Registry) NeedLeaderElection() bool { return false }

// Start looks at silent verifiers, and at versions in doubt, and exports how many verifiers there are, until the context ends.
func (r *Registry) Start(ctx context.Context) error {
	if err := metrics.Registry.Register(r); err != nil {
		return err
	}
	defer metrics.Registry.Unregister(r)
	r.begin()
	check, doubt := time.NewTicker(checkInterval), time.NewTicker(doubtInterval)
	defer check.Stop()
	defer doubt.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-check.C:
			r.checkSilent(ctx)
			r.removeDeleted()
			r.wakeUnnamed()
		case <-doubt.C:
			r.checkVersions(ctx)
		}
	}
}

// begin notes that this instance begins to watch.
func (r *Registry) begin() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.started = r.Silence.Now()
}

// checkSilent finds out which verifiers are gone, if a key waits for it.
func (r *Registry) checkSilent(ctx context.Context) {
	suspects := r.suspects()
	if len(suspects) == 0 {
		return
	}
	if err := r.listLive(ctx); err != nil {
		ctrl.LoggerFrom(ctx).Info("Verifiers are silent, and the Leases cannot be listed: withdrawals are not confirmed", "error", err.Error())
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, name := range suspects {
		if v := r.known[name]; v != nil && r.isSuspect(v) {
			v.presence, v.since = propagation.Gone, r.Silence.Now()
			r.changes++
		}
	}
	r.confirmAll()
}

// removeDeleted removes the verifiers without a Lease that answer no longer. While a key waits they are remembered for a while: they are part of
// its proof, and its pass may come later.
func (r *Registry) removeDeleted() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	isAwaited := len(r.waiting.items) > 0
	for _, v := range r.known {
		switch {
		case !v.isDeleted:
		case v.presence != propagation.Present && (!isAwaited || r.Silence.Since(v.since) > memorySpan), !isAwaited && r.isSuspect(v):
			r.remove(v)
		}
	}
}

// wakeUnnamed wakes the keys whose status says that no verifier is registered, once there is one that has not confirmed within namingDelay.
func (r *Registry) wakeUnnamed() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.Synced != nil && !r.Synced() {
		return // the status would not name it
	}
	for s, q := range r.waiting.scopes {
		if len(q.unnamed) > 0 && r.hasPresent(s) {
			r.waiting.wakeUnnamed(q)
		}
	}
}

// hasPresent reports whether a verifier of a scope has been known for namingDelay and may still answer. The mutex must be held.
func (r *Registry) hasPresent(s scope) bool {
	for _, v := range r.known {
		if v.presence == propagation.Present && r.Silence.Since(v.knownFrom) >= namingDelay && v.InScope(s.namespace, s.environment) {
			return true
		}
	}
	return false
}

// suspects returns the verifiers that count as gone if a live list shows no renewal; none if no key waits.
func (r *Registry) suspects() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.waiting.items) == 0 {
		return nil
	}
	var names []string
	for _, v := range r.known {
		if r.isSuspect(v) {
			names = append(names, v.name)
		}
	}
	return names
}

// listLive notes the Leases as the API server has them now. It does nothing within listInterval of the last time, unless a verifier is suspected
// to be gone.
func (r *Registry) listLive(ctx context.Context) error {
	if r.Live == nil || r.listedLately() && len(r.suspects()) == 0 {
		return nil
	}
	var leases coordinationv1.LeaseList
	err := read.Bounded(ctx, func(ctx context.Context) error {
		return r.Live.List(ctx, &leases, client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.VerifierLabel: "true"})
	})
	if err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.listedAt = r.Silence.Now()
	r.noteList(leases.Items)
	r.confirmAll()
	return nil
}

// readCache notes the Leases that the cache has. After an interruption of the watch, the cache has all of them before the first event is delivered.
// The events alone could confirm what a verifier rejects while another one is still to come that has registered, or answers again, since the
// interruption. The mutex must be held.
func (r *Registry) readCache() error {
	if r.Cached == nil {
		return nil
	}
	var leases coordinationv1.LeaseList
	err := r.Cached.List(context.Background(), &leases, client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.VerifierLabel: "true"}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("reading the Leases of verifiers from the cache: %w", err)
	}
	r.noteList(leases.Items)
	return nil
}

func (r *Registry) listedLately() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return !r.listedAt.IsZero() && r.Silence.Since(r.listedAt) < listInterval
}

// checkVersions asks the API server for its version if a verifier reports a higher one than this instance has seen, and a key waits. It asks
// less and less while the answer is no.
func (r *Registry) checkVersions(ctx context.Context) {
	if !r.asksForVersion() {
		return
	}
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := read.Bounded(ctx, func(ctx context.Context) error {
		return r.Live.List(ctx, &records, client.InNamespace(r.RecordNamespace), client.Limit(1))
	}); err != nil {
		return // tried again
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if version := records.ResourceVersion; registration.IsVersion(version) && !registration.Reaches(r.newest, version) {
		r.newest = version
		r.changes++
	}
	r.doubted = false
	for _, v := range r.known {
		for _, version := range v.Observed {
			r.doubted = r.doubted || v.presence == propagation.Present && !registration.Reaches(r.newest, version)
		}
	}
	if !r.doubted {
		r.askDelay = 0
	}
	r.confirmAll()
}

// asksForVersion reports whether to ask for the version now.
func (r *Registry) asksForVersion() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !r.doubted || len(r.waiting.items) == 0 || r.askDelay > 0 && r.Silence.Since(r.askedAt) < r.askDelay {
		return false
	}
	r.askedAt, r.askDelay = r.Silence.Now(), min(max(2*r.askDelay, doubtInterval), listInterval)
	return true
}
