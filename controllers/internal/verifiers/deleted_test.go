// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"strconv"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_RemovesDeletedLeases: each verifier that is killed leaves a Lease, which the operator deletes an hour later.
func TestRegistry_RemovesDeletedLeases(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		name := "killed" + strconv.Itoa(i)
		w.renew(name, nil)
		w.after(time.Hour)
		delete(w.leases, name)
		w.ObserveDeletion(name)
		w.after(time.Second)
	}
	if len(w.known) > 0 {
		t.Errorf("no key waits, no Lease exists, and %d verifiers are known", len(w.known))
	}
	w.renew("serving", func(r *registration.Registration) { r.Serves = true })
	w.withdraw("key")
	for i := range 50 {
		name := "killed" + strconv.Itoa(i)
		w.renew(name, nil)
		delete(w.leases, name)
		w.ObserveDeletion(name)
		w.after(10 * time.Minute)
		w.after(10 * time.Minute)
	}
	if len(w.known) > 2 {
		t.Errorf("a key waits for another, and %d verifiers are known", len(w.known))
	}
	w.expectWoken("one serves when stale")
}

// TestRegistry_RemembersWhenADeletedOneStopped: the pass of a key that waits for it may come later, and must not date the proof earlier.
func TestRegistry_RemembersWhenADeletedOneStopped(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("stopping", nil)
	w.withdraw("key")
	w.renew("a", nil)
	w.clock.SetTime(w.clock.Now().Add(20 * time.Second))
	stopped := w.clock.Now()
	w.renew("stopping", func(r *registration.Registration) {
		r.Stopped, r.Observed = true, map[registration.Watch]string{{}: "100"}
	})
	w.ObserveDeletion("stopping")
	w.expectWoken("all have followed or stopped", "key")
	for _, v := range w.View(t.Context(), "support", "production").Verifiers {
		if v.Name == "stopping" && v.PresenceFrom.Equal(stopped) {
			return
		}
	}
	t.Error("the verifier that stopped last is removed before the key was looked at")
}
