// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_WakesTheKeysThatKnowNoVerifier, so that they name the first one that registers and does not follow.
func TestRegistry_WakesTheKeysThatKnowNoVerifier(t *testing.T) {
	w := newWorld(t)
	key := types.NamespacedName{Namespace: "support", Name: "key"}
	wait := func(noneIsKnown bool) {
		w.Wait(key, "production", propagation.Awaited{Version: w.record, NoneIsKnown: noneIsKnown})
	}
	behind := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "1"} }
	w.write()
	wait(true)
	w.renew("elsewhere", func(r *registration.Registration) {
		r.Observed = map[registration.Watch]string{{Namespace: "sales"}: "1"}
	})
	w.after(namingDelay)
	w.expectWoken("none is in scope")
	w.renew("a", behind)
	w.after(namingDelay - 1)
	w.expectWoken("it may still confirm")
	w.after(1)
	w.expectWoken("it has not confirmed", "key")
	w.after(namingDelay)
	w.expectWoken("the key has not been looked at yet")
	wait(false)
	for range 5 {
		w.after(namingDelay)
		w.renew("a", behind)
	}
	w.expectWoken("the status names it")
	w.renew("a", nil)
	w.expectWoken("it has followed", "key")
	w.StopWaiting(key)
	if len(w.waiting.scopes) != 0 {
		t.Errorf("%d scopes wait", len(w.waiting.scopes))
	}
}

// TestRegistry_AFirstVerifierThatConfirmsAtOnceCostsNoFurtherWrite of the status: the key is woken once, for the confirmation.
func TestRegistry_AFirstVerifierThatConfirmsAtOnceCostsNoFurtherWrite(t *testing.T) {
	w := newWorld(t)
	w.write()
	w.Wait(types.NamespacedName{Namespace: "support", Name: "key"}, "production", propagation.Awaited{Version: w.record, NoneIsKnown: true})
	w.renew("a", func(r *registration.Registration) { r.Observed = nil })
	w.after(time.Second)
	w.renew("a", nil)
	w.expectWoken("it has listed all records", "key")
	w.after(namingDelay)
	w.expectWoken("the key was woken already")
}
