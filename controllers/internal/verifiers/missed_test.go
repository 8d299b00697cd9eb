// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"testing"
	"time"
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
