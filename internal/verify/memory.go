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

// headroom is how much garbage may gather beside what is alive, in bytes. Go's own measure, as much again as is alive, lets a
// million records take twice their memory, and makes a verifier with few records collect hundreds of times a second.
const headroom = 48 << 20

const (
	leastPercent = 15
	mostPercent  = 300
)

// collectorPercent is GOGC for so many living bytes.
func collectorPercent(living uint64) int {
	return min(max(int(headroom*100/max(living, 1)), leastPercent), mostPercent) //nolint:gosec // at most headroom*100
}

// tuneCollector keeps the headroom until the context ends, and gives back what the first list needed once it is complete. A
// GOGC in the environment stays as it is.
//
// It follows each collection, not only a ticker: what is alive can grow tenfold within a second when many clients connect at
// once, and the percentage that fits a few megabytes would let hundreds of megabytes of garbage gather.
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

// notifyCollections sends after each collection of garbage until the context ends, unless the receiver is behind.
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
