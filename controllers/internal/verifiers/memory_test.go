// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"strconv"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_KeepsFewReportsOfManyWatches: a Lease of 64 KiB may name 10,000 watches, and each report holds the versions of all.
func TestRegistry_KeepsFewReportsOfManyWatches(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		w.write()
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		w.renew("a", func(r *registration.Registration) {
			r.Observed = map[registration.Watch]string{}
			for i := range 10000 {
				r.Observed[registration.Watch{Namespace: strconv.Itoa(i)}] = w.record
			}
		})
		w.renew("b", nil)
	}
	watches := 0
	for _, reported := range w.known["a"].reports {
		watches += len(reported.observed)
	}
	if watches > 20000 {
		t.Errorf("%d versions are kept of a Lease with 10,000 watches", watches)
	}
	if n := len(w.known["b"].reports); n != maxReports {
		t.Errorf("%d reports are kept of one with a single watch, want %d", n, maxReports)
	}
}
