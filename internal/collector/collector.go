// SPDX-License-Identifier: Apache-2.0

// Package collector bounds the memory that a program takes for garbage. Go's default bound is the size of the live heap: a cache of many objects
// takes twice its memory, and a program with little to keep collects hundreds of times per second.
package collector

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"

	"k8s.io/utils/clock"
)

// Collector says how much garbage a program may have.
type Collector struct {
	// Headroom is the memory for garbage in addition to the live heap, in bytes.
	Headroom uint64
	// IsFilled reports whether what the program keeps is complete. Memory is returned to the system at once when it is. Nil for a program
	// that does not know.
	IsFilled func() bool
}

const (
	leastPercent = 15
	mostPercent  = 300
	// quiet is the time without a collection after which more than the headroom is returned to the system: it is left of a peak.
	quiet = 2 * time.Second
)

// Tune keeps the headroom until the context ends. It does nothing if GOGC is set in the environment.
//
// It follows each collection, not only a ticker: the live heap can grow tenfold within a second when many clients connect, and
// the percentage for a few megabytes would allow hundreds of megabytes of garbage.
func (c Collector) Tune(ctx context.Context) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	collected := make(chan struct{}, 1)
	notifyCollections(ctx, collected)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	now := clock.RealClock{}
	percent, filled, last := 0, c.IsFilled == nil, now.Now()
	for {
		if isFilled := filled || c.IsFilled(); isFilled != filled || now.Since(last) > quiet && unreturned() > c.Headroom {
			filled = isFilled
			debug.FreeOSMemory()
		}
		// Each change stops the world for a moment.
		if want := c.percent(sum("/gc/heap/live:bytes")); max(want, percent)-min(want, percent) > percent/10 {
			debug.SetGCPercent(want)
			percent = want
		}
		select {
		case <-ctx.Done():
			return
		case <-collected:
			last = now.Now()
		case <-ticker.C:
		}
	}
}

// percent returns the value of GOGC for a live heap of a size in bytes.
func (c Collector) percent(living uint64) int {
	return min(max(int(c.Headroom*100/max(living, 1)), leastPercent), mostPercent) //nolint:gosec // at most 100 times the headroom
}

// unreturned returns how many bytes of the heap were not live at the last collection, and still belong to the process.
func unreturned() uint64 {
	held, live := sum("/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/free:bytes"), sum("/gc/heap/live:bytes")
	return held - min(held, live)
}

// sum returns the sum of metrics of the runtime.
func sum(names ...string) (total uint64) {
	samples := make([]runtimemetrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	runtimemetrics.Read(samples)
	for _, sample := range samples {
		total += sample.Value.Uint64()
	}
	return total
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
