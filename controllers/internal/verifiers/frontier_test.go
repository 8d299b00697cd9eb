// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"testing"

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
