// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"dgbot.io/key-operator/internal/registration"
)

// lagging is the largest age at which a verifier is ready. Beyond it, load balancers use another verifier. Each watch is opened
// at least twice within it.
const lagging = 90 * time.Second

// Freshness describes how old the content of the index may be. Its age counts from the latest time at which the API server can have sent
// what was read, not from the time of processing: after the process was stopped, what it reads may have waited in buffers, and the connection
// may be lost. It is safe for concurrent use.
type Freshness struct {
	watches []watchState
	pulse   *pulse
	bound   Bound
	// registration counts as well: an expired one makes the index stale, however fresh its content is.
	registration registrationState
}

// watchState is the state of one watch.
type watchState struct {
	watch registration.Watch
	// synced is the number of the era in which the last complete list began; 0 for none.
	synced atomic.Int64
	// applied is the version up to which the index holds all changes; nil if the watch broke.
	applied atomic.Pointer[string]
	// incomplete is set if the index had no room for all records.
	incomplete atomic.Bool
	// heard is the time of the last sign of life of the API server; nil for never.
	heard atomic.Pointer[moment]
}

// newFreshness returns the Freshness of watches without any sign of life. If registration is required, the process is not registered yet.
func newFreshness(watches []registration.Watch, p *pulse, bound Bound, requiresRegistration bool) *Freshness {
	f := &Freshness{watches: make([]watchState, len(watches)), pulse: p, bound: bound}
	for i, watch := range watches {
		f.watches[i].watch = watch
	}
	f.registration.begin(requiresRegistration)
	return f
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
	if heard := f.watches[i].heard.Load(); heard == nil || sent.since(*heard) > 0 {
		f.watches[i].heard.Store(&sent)
	}
}

// listed notes that a list is complete that began in an era.
func (f *Freshness) listed(i int, era int64) { f.watches[i].synced.Store(era) }

// leftOut notes whether the index had no room for records of a watch.
func (f *Freshness) leftOut(i int, some bool) { f.watches[i].incomplete.Store(some) }

// Complete reports whether the index had room for all records.
func (f *Freshness) Complete() bool {
	for i := range f.watches {
		if f.watches[i].incomplete.Load() {
			return false
		}
	}
	return true
}

// Synced reports whether the first list of every watch is complete, since the present registration began.
func (f *Freshness) Synced() bool {
	present := f.registration.present.Load()
	for i := range f.watches {
		if f.watches[i].synced.Load() != present {
			return false
		}
	}
	return true
}

// age returns the time since the last sign of life of the API server, for the watch for which it is longest. Time in which the machine was
// suspended counts; a step of the wall clock does not.
func (f *Freshness) age(now moment) time.Duration {
	age := time.Duration(0)
	for i := range f.watches {
		heard := f.watches[i].heard.Load()
		if heard == nil {
			return forever
		}
		age = max(age, now.since(*heard))
	}
	return age
}

// at returns the moment of a time that the caller has just read.
func (f *Freshness) at(now time.Time) moment { return moment{now, f.pulse.suspended()} }

// forever is the age without any sign of life.
const forever = time.Duration(math.MaxInt64)

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

// Answers reports whether requests may be answered at a time. It reads the ages first: where an expired registration is renewed, the list that is
// required then becomes unsynced before the age becomes small.
func (f *Freshness) Answers(now time.Time) bool {
	return (f.bound.Serve || f.isWithin(now, f.bound.MaxStaleness, f.bound.MaxStaleness)) && f.Synced()
}

// Ready reports whether load balancers should send requests to this verifier.
func (f *Freshness) Ready(now time.Time) bool {
	return f.isWithin(now, min(lagging, f.bound.MaxStaleness), min(maxUnrenewed, f.bound.MaxStaleness)) && f.Synced()
}

// isWithin reports whether neither the content of the index nor the last renewal of the registration is older than a bound.
func (f *Freshness) isWithin(now time.Time, content, renewal time.Duration) bool {
	at := f.at(now)
	return f.age(at) <= content && f.registration.age(at) <= renewal
}

// The conditions, as the log and /readyz state them.
const (
	unregistered = "waiting for the registration of this verifier"
	starting     = "waiting for the first complete list of records"
	fresh        = "records are up to date"
	late         = "nothing heard from the API server for a while: not ready"
	stale        = "nothing heard from the API server for too long: requests are denied"
	serving      = "nothing heard from the API server for too long: requests are answered all the same, as asked for"
	unrenewed    = "the registration was not renewed for a while: not ready"
	expired      = "the registration has expired: requests are denied"
	servingAlone = "the registration has expired: requests are answered all the same, as asked for"
)

// Condition describes the freshness at a time.
func (f *Freshness) Condition(now time.Time) string {
	at := f.at(now)
	age, renewal := f.age(at), f.registration.age(at)
	switch {
	case !f.Synced() && renewal == forever:
		return unregistered
	case !f.Synced():
		return starting
	case age > f.bound.MaxStaleness && f.bound.Serve:
		return serving
	case age > f.bound.MaxStaleness:
		return stale
	case renewal > f.bound.MaxStaleness && f.bound.Serve:
		return servingAlone
	case renewal > f.bound.MaxStaleness:
		return expired
	case renewal > maxUnrenewed:
		return unrenewed
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
			values := []any{"lastHeardOf", ago(f.age(f.at(now))), "maxStaleness", f.bound.MaxStaleness.String()}
			if f.registration.required {
				values = append(values, "lastRenewal", ago(f.registration.age(f.at(now))))
			}
			log.Info(is, values...)
			last = is
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func ago(age time.Duration) string {
	if age == forever {
		return "never"
	}
	return age.Round(time.Second).String() + " ago"
}
