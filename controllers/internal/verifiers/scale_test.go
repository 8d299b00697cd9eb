// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// BenchmarkRegistry_Scale has 1,000 verifiers follow while 1,000,000 keys are withdrawn, each with a record: what docs/design/scale.md says of the
// operator. A step is one renewal; in b.N steps all verifiers but one follow completely, so that nothing is confirmed. Then the last one does.
func BenchmarkRegistry_Scale(b *testing.B) {
	const verifiers, keys = 1000, 1_000_000
	w := newWorld(&testing.T{})
	behind := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "100"} }
	before := living()
	for i := range keys {
		w.withdraw(fmt.Sprintf("key%d", i))
	}
	afterKeys := living()
	for i := range verifiers {
		for range maxReports {
			w.renew(fmt.Sprintf("v%d", i), behind)
		}
	}
	afterVerifiers := living()
	began := time.Now()
	const more = 1000
	for i := range more {
		w.withdraw(fmt.Sprintf("later%d", i))
	}
	withdrawing := time.Since(began)
	b.ResetTimer()
	for i := range b.N {
		w.renew(fmt.Sprintf("v%d", 1+i%(verifiers-1)), nil)
	}
	b.StopTimer()
	if len(w.woken) > 0 {
		b.Fatalf("%d keys were woken before the last verifier followed", len(w.woken))
	}
	for i := 1; i < verifiers; i++ {
		w.renew(fmt.Sprintf("v%d", i), nil)
	}
	began = time.Now()
	w.renew("v0", nil)
	confirming := time.Since(began)
	for unit, value := range map[string]float64{
		"B/key": float64(afterKeys-before) / keys, "B/verifier": float64(afterVerifiers-afterKeys) / verifiers,
		"ns/withdrawal": float64(withdrawing) / more, "ns/confirmation": float64(confirming) / keys,
	} {
		b.ReportMetric(value, unit)
	}
	if len(w.woken) != keys+more {
		b.Errorf("%d keys were woken, want %d", len(w.woken), keys+more)
	}
}

// living returns how many bytes are reachable.
func living() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
