// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"sync"
	"time"
)

const (
	// beatInterval is how often a process shows itself that it runs.
	beatInterval = 200 * time.Millisecond
	// longestGap is how long it may not have run without consequences: on a busy machine it sometimes does not for a moment.
	longestGap = time.Second
)

// moment is a point in time by clocks that cannot be set.
type moment struct {
	// at counts with the monotonic clock, which stands still while the machine is suspended.
	at time.Time
	// suspended is how long the machine was suspended since it started.
	suspended time.Duration
}

// since returns the time from an earlier moment on, with the time that the machine was suspended. A step of the wall clock does not
// change it.
func (m moment) since(earlier moment) time.Duration {
	return m.at.Sub(earlier.at) + m.suspended - earlier.suspended
}

// gap describes a time in which the process did not run: it was stopped, the machine was suspended, or there was no processor for it.
type gap struct {
	end    moment
	length time.Duration
}

// pulse notices when the process has not run for a while. What it reads then may have waited in buffers. Without beats it notices
// nothing.
type pulse struct {
	now       func() time.Time
	suspended func() time.Duration

	mutex   sync.Mutex
	beating bool
	last    moment
	latest  gap
	// woken is closed at the end of the next gap.
	woken chan struct{}
}

func newPulse(now func() time.Time) *pulse {
	return &pulse{now: now, suspended: timeSuspended, woken: make(chan struct{})}
}

func (p *pulse) moment() moment { return moment{p.now(), p.suspended()} }

// run beats until the context ends.
func (p *pulse) run(ctx context.Context) {
	p.begin()
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.beat()
		}
	}
}

func (p *pulse) begin() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.beating, p.last = true, p.moment()
}

// beat notes that the process runs, and the gap before it, if there was one. Each read calls it as well: after a gap, a read may come
// before the ticker.
func (p *pulse) beat() moment {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := p.moment()
	if p.beating {
		if length := p.elapsed(now); length > longestGap {
			p.latest = gap{now, length}
			close(p.woken)
			p.woken = make(chan struct{})
		}
		p.last = now
	}
	return now
}

// elapsed returns the time since the last beat. A wall clock that steps forward counts here: it is all that a virtual machine sees
// of it when its host paused it. The age of the records does not count it.
func (p *pulse) elapsed(now moment) time.Duration {
	return max(now.since(p.last), now.at.Round(0).Sub(p.last.at.Round(0)))
}

// gapAfter returns the latest gap that ended after a moment, if there is one.
func (p *pulse) gapAfter(asked moment) (gap, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.latest, p.latest.length > 0 && p.latest.end.since(asked) > 0
}

// next returns a channel that is closed at the end of the next gap.
func (p *pulse) next() <-chan struct{} {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.woken
}
