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

// lagging is the age from which on a verifier is not ready, so that traffic goes to another one. A watch is opened anew at
// least twice within it.
const lagging = 90 * time.Second

// Freshness knows how old what the index holds may be. Its clock moves by when the API server can have sent what was read, not by when
// it was processed: what a process reads after it was stopped for a while may have waited in buffers, and the connection may be lost.
type Freshness struct {
	sources []source
	pulse   *pulse
	bound   Bound
}

// source is one watch.
type source struct {
	synced atomic.Bool
	// heard is when the API server last gave a sign of life; nil for never.
	heard atomic.Pointer[moment]
}

// newFreshness returns one for a number of watches, none of which has been heard of.
func newFreshness(sources int, p *pulse, bound Bound) *Freshness {
	return &Freshness{sources: make([]source, sources), pulse: p, bound: bound}
}

// answered notes the answer to a request: a watch that was accepted, or a complete list. The API server has sent it after it was asked.
// An accepted watch counts as a sign of life because a watch follows only a complete list, or a watch that ended at its time. An idle
// API server gives no other: it sends no bookmark while nothing is written. A proxy that accepts everything and delivers nothing
// never completes the list that a broken watch requires.
func (f *Freshness) answered(i int, asked moment) { f.touch(i, asked) }

// delivered notes an event or a bookmark of a watch, once the index holds it. If the process has not run for a while since the watch was
// asked for, the event proves nothing: the next request will.
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

// Synced reports whether every watch has shown all there was when it began.
func (f *Freshness) Synced() bool {
	for i := range f.sources {
		if !f.sources[i].synced.Load() {
			return false
		}
	}
	return true
}

// forever is the age where the API server was never heard of.
const forever = time.Duration(math.MaxInt64)

// age is how long ago the watch that has been silent longest was heard of; never heard of is forever. The time that the machine was
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

// minStaleness is the least bound that can be kept: see watchSpan.
const minStaleness = 5 * time.Second

// Bound says from which age on requests are refused.
type Bound struct {
	MaxStaleness time.Duration
	// Serve goes on answering from what is known, however old.
	Serve bool
}

// Validate returns what is wrong with the bound.
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

// Ready reports whether a load balancer should send requests here.
func (f *Freshness) Ready(now time.Time) bool {
	return f.Synced() && f.age(now) <= min(lagging, f.bound.MaxStaleness)
}

// The conditions. Each change is worth a line in the log.
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

// report logs every change until the context ends.
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
