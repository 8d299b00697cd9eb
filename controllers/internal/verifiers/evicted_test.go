// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"strconv"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// createAndDelete has a client create Leases, and delete each at once.
func (w *world) createAndDelete(leases int, change func(*registration.Registration)) {
	for i := range leases {
		name := "v" + strconv.Itoa(i)
		w.renew(name, change)
		delete(w.leases, name)
		w.ObserveDeletion(name)
	}
}

// TestRegistry_EvictedVerifiersThatServeConfirmNothing: each of them may answer for ever, and none is in the view that a key is planned with.
func TestRegistry_EvictedVerifiersThatServeConfirmNothing(t *testing.T) {
	w := newWorld(t)
	w.createAndDelete(20000, func(r *registration.Registration) { r.Serves = true })
	if len(w.known) > 10000 || w.deletedSize > maxDeletedSize {
		t.Errorf("no Lease exists, and %d verifiers are known", len(w.known))
	}
	w.renew("a", nil)
	w.withdraw("key")
	for range 100 {
		w.after(time.Hour)
		w.renew("a", nil)
	}
	w.known = map[string]*verifier{"a": w.known["a"]} // as if the others had been evicted too
	w.renew("a", nil)
	w.expectWoken("one that was evicted may answer")
	if view := w.View(t.Context(), "support", "production"); !view.Incomplete {
		t.Errorf("the view counts as complete: %+v", view)
	}
}

// TestRegistry_EvictedVerifiersThatDenyDelayProofs: the delay counts from the last deletion, because each of them may have renewed until then.
func TestRegistry_EvictedVerifiersThatDenyDelayProofs(t *testing.T) {
	w := newWorld(t)
	w.createAndDelete(20000, nil)
	if len(w.known) > 10000 {
		t.Errorf("no Lease exists, and %d verifiers are known", len(w.known))
	}
	deleted := w.clock.Now()
	w.renew("a", nil)
	w.withdraw("key")
	w.known = map[string]*verifier{"a": w.known["a"]}
	w.renew("a", nil)
	w.after(149 * time.Second)
	w.renew("a", nil)
	w.expectWoken("those that were evicted may answer")
	if view := w.View(t.Context(), "support", "production"); view.Incomplete || !view.CompleteFrom.Equal(deleted.Add(150*time.Second)) {
		t.Errorf("it is incomplete: %t, and complete from %s", view.Incomplete, view.CompleteFrom)
	}
	w.after(time.Second)
	w.renew("a", nil)
	w.expectWoken("all of them deny", "key")
}

// TestRegistry_BoundsDeletedLeasesOfAnySize: a Lease of 64 KiB may have one text of that length, or 10,000 short ones.
func TestRegistry_BoundsDeletedLeasesOfAnySize(t *testing.T) {
	w := newWorld(t)
	long := string(make([]byte, 60000))
	w.createAndDelete(300, func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{Namespace: long}: "1"} })
	for i := range 30 {
		w.renew("many", func(r *registration.Registration) {
			for n := range 10000 {
				r.Observed[registration.Watch{Namespace: strconv.Itoa(i), Environment: strconv.Itoa(n)}] = "1"
			}
		})
		w.ObserveDeletion("many")
	}
	total := 0
	for _, v := range w.known {
		total += v.size()
	}
	if total > maxDeletedSize || w.deletedSize != total {
		t.Errorf("%d bytes are remembered of deleted Leases, and %d are counted", total, w.deletedSize)
	}
	w.after(time.Hour)
	if len(w.known) != 0 || w.deletedSize != 0 {
		t.Errorf("all are gone, %d are known, and %d bytes are counted", len(w.known), w.deletedSize)
	}
}
