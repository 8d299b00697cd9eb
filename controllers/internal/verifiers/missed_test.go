// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/registration"
)

// missRenewals has b renew while the watch of Leases delivers nothing and no key waits. Then b loses its connection, and its Lease is deleted. It
// answers for its max-staleness from then on.
func missRenewals(w *world) {
	w.renew("a", nil)
	w.renew("b", nil)
	w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
	w.renew("b", nil, true)
	delete(w.leases, "b")
}

// TestRegistry_ALeaseThatALiveListLacksMayHaveBeenRenewed: the watch of Leases is still frozen.
func TestRegistry_ALeaseThatALiveListLacksMayHaveBeenRenewed(t *testing.T) {
	w := newWorld(t)
	missRenewals(w)
	w.withdraw("key")
	w.renew("a", nil)
	w.after(time.Second)
	w.after(148 * time.Second)
	w.renew("a", nil)
	w.expectWoken("it renewed 149 s ago")
	w.after(3 * time.Second)
	w.expectWoken("it is gone", "key")
}

// TestRegistry_ALeaseThatARelistLacksMayHaveBeenRenewed: the watch was interrupted, and reports the Lease as deleted with an earlier state of it.
func TestRegistry_ALeaseThatARelistLacksMayHaveBeenRenewed(t *testing.T) {
	w := newWorld(t)
	missRenewals(w)
	w.observeLoss("b")
	w.withdraw("key")
	w.renew("a", nil)
	w.after(149 * time.Second)
	w.renew("a", nil)
	w.expectWoken("it renewed 149 s ago")
	w.after(2 * time.Second)
	w.expectWoken("it is gone", "key")
}

// TestRegistry_AGoneVerifierMayHaveComeBack: it was cut off, and answered again while the watch was interrupted. Then its Lease was deleted.
func TestRegistry_AGoneVerifierMayHaveComeBack(t *testing.T) {
	for name, interrupted := range map[string]func(*world){
		"a relist finds the loss":    func(w *world) { w.observeLoss("b") },
		"a live list finds the loss": func(w *world) { w.listedAt = time.Time{}; _ = w.listLive(w.t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.renew("a", nil)
			w.renew("b", nil)
			w.withdraw("first")
			w.after(151 * time.Second)
			w.renew("a", nil)
			w.expectWoken("b is gone", "first")
			w.StopWaiting(types.NamespacedName{Namespace: "support", Name: "first"})
			w.renew("b", nil, true)
			delete(w.leases, "b")
			interrupted(w)
			w.withdraw("second")
			w.renew("a", nil)
			w.expectWoken("b may have come back a moment ago")
			w.after(151 * time.Second)
			w.renew("a", nil)
			w.expectWoken("b is gone again", "second")
		})
	}
}

// cached are the Leases of a world as a cache has them.
type cached struct {
	leases map[string]*coordinationv1.Lease
}

// Get implements client.Reader.
func (c cached) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nothing reads one Lease")
}

// List implements client.Reader.
func (c cached) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	leases, ok := list.(*coordinationv1.LeaseList)
	if !ok {
		return fmt.Errorf("nothing reads a %T", list)
	}
	for _, lease := range c.leases {
		leases.Items = append(leases.Items, *lease)
	}
	return nil
}

// TestRegistry_KnowsAllLeasesOfARelistBeforeItConfirms: after an interruption of the watch, the events for the Leases come one after the other.
func TestRegistry_KnowsAllLeasesOfARelistBeforeItConfirms(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	version := w.withdraw("key")
	behind := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "100"} }
	followed := w.renew("a", nil, true)
	late := w.renew("b", behind, true)
	w.Cached = cached{w.leases}
	w.Observe(followed)
	w.expectWoken("b has registered meanwhile, and is behind")
	w.Observe(late)
	w.renew("b", nil)
	w.expectWoken("both have reached "+version, "key")
}

// TestRegistry_ViewsAllLeasesOfARelist before the first event for them.
func TestRegistry_ViewsAllLeasesOfARelist(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("b", nil, true)
	w.Cached = cached{w.leases}
	if view := w.View(t.Context(), "support", "production"); len(view.Verifiers) != 2 {
		t.Errorf("the view has %+v", view.Verifiers)
	}
}
