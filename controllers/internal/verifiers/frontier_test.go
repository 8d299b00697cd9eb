// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_ARenewalWakesNoneWhileOneSaysNothing, in whatever order the verifiers are looked at.
func TestRegistry_ARenewalWakesNoneWhileOneSaysNothing(t *testing.T) {
	for range 100 {
		w := newWorld(t)
		w.renew("starting", func(r *registration.Registration) { r.Observed = nil })
		w.renew("a", nil)
		w.withdraw("key")
		w.renew("a", nil)
		w.expectWoken("one has not listed yet")
	}
}

// TestRegistry_CountsWhatAVerifierHadReachedBeforeItsWatchBroke: it lists anew, and reports less until then. Whatever it has rejected, it still rejects.
func TestRegistry_CountsWhatAVerifierHadReachedBeforeItsWatchBroke(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("b", nil)
	w.withdraw("key")
	w.renew("a", nil)
	w.renew("a", func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "1"} })
	w.expectWoken("the other is behind")
	w.renew("b", nil)
	w.expectWoken("both have reached it", "key")
}

// TestRegistry_AnEndIsConfirmedWhileALaterWithdrawalIsNot: verifiers have the version of the first, and wait for the time.
func TestRegistry_AnEndIsConfirmedWhileALaterWithdrawalIsNot(t *testing.T) {
	w := newWorld(t)
	w.write()
	ends := w.record
	w.renew("a", nil)
	w.renew("b", nil)
	w.Wait(types.NamespacedName{Namespace: "support", Name: "ending"}, "production", propagation.Awaited{Version: ends, End: start.Add(time.Minute)})
	w.withdraw("later")
	behind := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: ends} }
	w.renew("a", behind)
	w.after(2 * time.Minute)
	w.renew("a", behind)
	w.expectWoken("one clock has not reached the end")
	w.renew("b", behind)
	w.expectWoken("both clocks have reached the end", "ending")
}
