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
