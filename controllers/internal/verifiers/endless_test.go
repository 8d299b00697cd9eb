// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"math"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_AnEndlessMaxStalenessNeverEnds: the sum of such a bound and what is added to it overflows, and each silence would be longer.
func TestRegistry_AnEndlessMaxStalenessNeverEnds(t *testing.T) {
	w := newWorld(t)
	w.renew("a", nil)
	w.renew("endless", func(r *registration.Registration) { r.MaxStaleness = math.MaxInt64 })
	w.withdraw("key")
	w.renew("a", nil)
	w.after(time.Second)
	w.expectWoken("one answers for 292 years, and is behind")
}
