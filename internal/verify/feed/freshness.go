// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// lagging is the largest age at which a verifier is ready. Beyond it, load balancers use another verifier. Each watch is opened
// at least twice within it.
const lagging = 90 * time.Second

// Freshness describes how old the content of the index may be. Its age counts from the latest time at which the API server can have sent
// what was read, not from the time of processing: after the process was stopped, what it reads may have waited in buffers, and the connection
// may be lost. It is safe for concurrent use.
type Freshness struct {
	sources []source
	pulse   *pulse
	bound   Bound
}

// source is the state of one watch.
type source struct {
	synced atomic.Bool
	// heard is the time of the last sign of life of the API server; nil for never.
	heard atomic.Pointer[moment]
}

// newFreshness returns the Freshness of a number of watches without any sign of life.
func newFreshness(sources int, p *pulse, bound Bound) *Freshness {
	return &Freshness{sources: make([]source, sources), pulse: p, bound: bound}
}

// answered notes the answer to a request: a watch that was accepted, or a complete list. The API server sent it after the request. An
// accepted watch counts as a sign of life, because a watch follows only a complete list, or a watch that lasted its time. An idle API
// server gives no other sign: it sends no bookmark while nothing is written. A proxy that accepts all requests and delivers nothing never
// completes the list that follows a broken watch.
func (f *Freshness) answered(i int, asked moment) { f.touch(i, asked) }

// delivered notes an event or a bookmark of a watch, after the index holds it. It does not count if the process was stopped since the watch
// was requested: only the answer to the next request proves that the connection lasts.
func (f *Freshness) delivered(i int, asked moment) {
	now := f.pulse.beat()
	if _, paused := f.pulse.gapAfter(asked); !paused {
		f.touch(i, now)
	}
}

func (f *Freshness) touch(i int, sent moment) {
	if heard := f.sources[i].heard.Load(); heard == nil || sent.since(*heard) > 0 {
		f.sources[i].heard.Store(&sent)
	}
}

func (f *Freshness) synced(i int) { f.sources[i].synced.Store(true) }

// Synced reports whether the first list of every watch is complete.
func (f *Freshness) Synced() bool {
	for i := range f.sources {
		if !f.sources[i].synced.Load() {
			return false
		}
	}
	return true
}

// forever is the age without any sign of life.
const forever = time.Duration(math.MaxInt64)

// age returns the time since the last sign of life of the API server, for the watch for which it is longest. Time in which the machine was
// suspended counts; a step of the wall clock does not.
func (f *Freshness) age(now time.Time) time.Duration {
	age := time.Duration(0)
	for i := range f.sources {
		heard := f.sources[i].heard.Load()
		if heard == nil {
			return forever
		}
		age = max(age, moment{now, f.pulse.suspended()}.since(*heard))
	}
	return age
}

// minStaleness is the smallest bound that can be kept: see watchSpan.
const minStaleness = 5 * time.Second

// Bound limits the age of the index's content with which requests are answered.
type Bound struct {
	// MaxStaleness is the largest age; at least 5 seconds.
	MaxStaleness time.Duration
	// Serve answers requests at a larger age as well.
	Serve bool
}

// Validate returns an error that names the flag if MaxStaleness is too small.
func (b Bound) Validate() error {
	if b.MaxStaleness < minStaleness {
		return fmt.Errorf("--max-staleness is %s: want at least %s, or an API server at which nothing happens would count as gone", b.MaxStaleness, minStaleness)
	}
	return nil
}

// Answers reports whether requests may be answered at a time.
func (f *Freshness) Answers(now time.Time) bool {
	return f.Synced() && (f.bound.Serve || f.age(now) <= f.bound.MaxStaleness)
}

// Ready reports whether load balancers should send requests to this verifier.
func (f *Freshness) Ready(now time.Time) bool {
	return f.Synced() && f.age(now) <= min(lagging, f.bound.MaxStaleness)
}

// The conditions, as the log and /readyz state them.
const (
	starting = "waiting for the first complete list of records"
	fresh    = "records are up to date"
	late     = "nothing heard from the API server for a while: not ready"
	stale    = "nothing heard from the API server for too long: requests are denied"
	serving  = "nothing heard from the API server for too long: requests are answered all the same, as asked for"
)

// Condition describes the freshness at a time.
func (f *Freshness) Condition(now time.Time) string {
	switch {
	case !f.Synced():
		return starting
	case f.age(now) > f.bound.MaxStaleness && f.bound.Serve:
		return serving
	case f.age(now) > f.bound.MaxStaleness:
		return stale
	case !f.Ready(now):
		return late
	}
	return fresh
}

// report logs every change of the condition until the context ends.
func (f *Freshness) report(ctx context.Context, log logr.Logger) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var last string
	for {
		now := f.pulse.now()
		if is := f.Condition(now); is != last {
			heard := "never"
			if age := f.age(now); age != forever {
				heard = age.Round(time.Second).String() + " ago"
			}
			log.Info(is, "lastHeardOf", heard, "maxStaleness", f.bound.MaxStaleness.String())
			last = is
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
