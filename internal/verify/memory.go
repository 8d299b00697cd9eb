// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// headroom is how much garbage may gather beside what is alive, in bytes. Go's own measure, as much again as is alive, lets a
// million records take twice their memory, and makes a verifier with few records collect hundreds of times a second.
const headroom = 48 << 20

const (
	leastPercent = 15
	mostPercent  = 800
)

// collectorPercent is GOGC for so many living bytes.
func collectorPercent(living uint64) int {
	return min(max(int(headroom*100/max(living, 1)), leastPercent), mostPercent) //nolint:gosec // at most headroom*100
}

// tuneCollector keeps the headroom until the context ends, and gives back what the first list needed once it is complete. A
// GOGC in the environment is somebody's decision, and stays.
func tuneCollector(ctx context.Context, synced func() bool) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for percent, tidied := 0, false; ; {
		if !tidied && synced() {
			debug.FreeOSMemory()
			tidied = true
		}
		living := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
		runtimemetrics.Read(living)
		// Each change stops the world for a moment.
		if want := collectorPercent(living[0].Value.Uint64()); max(want, percent)-min(want, percent) > percent/10 {
			debug.SetGCPercent(want)
			percent = want
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
