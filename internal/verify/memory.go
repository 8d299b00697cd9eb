// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// headroom is the memory for garbage in addition to the live heap, in bytes. Go's default, the size of the live heap, lets a
// million records take twice their memory, and makes a verifier with few records collect hundreds of times per second.
const headroom = 48 << 20

const (
	leastPercent = 15
	mostPercent  = 300
)

// collectorPercent returns the value of GOGC for a live heap of a size in bytes.
func collectorPercent(living uint64) int {
	return min(max(int(headroom*100/max(living, 1)), leastPercent), mostPercent) //nolint:gosec // at most headroom*100
}

// tuneCollector keeps the headroom until the context ends, and returns memory to the system after the first list is complete. It
// does nothing if GOGC is set in the environment.
//
// It follows each collection, not only a ticker: the live heap can grow tenfold within a second when many clients connect, and
// the percentage for a few megabytes would allow hundreds of megabytes of garbage.
func tuneCollector(ctx context.Context, synced func() bool) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	collected := make(chan struct{}, 1)
	notifyCollections(ctx, collected)
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
		case <-collected:
		case <-ticker.C:
		}
	}
}

// notifyCollections sends after each garbage collection until the context ends, unless the channel is full.
func notifyCollections(ctx context.Context, collected chan<- struct{}) {
	marker := new([16]byte)
	runtime.AddCleanup(marker, func(struct{}) {
		select {
		case collected <- struct{}{}:
		default:
		}
		if ctx.Err() == nil {
			notifyCollections(ctx, collected)
		}
	}, struct{}{})
}
