// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// beatInterval is the time between two beats.
	beatInterval = 200 * time.Millisecond
	// longestGap is the largest time between beats that is no gap: on a busy machine, a process is not scheduled at once.
	longestGap = time.Second
)

// moment is a point in time on clocks that cannot be set.
type moment struct {
	// at has the monotonic clock, which stands still while the machine is suspended.
	at time.Time
	// suspended is the time for which the machine was suspended since its start.
	suspended time.Duration
}

// since returns the time since an earlier moment, including suspension of the machine. A step of the wall clock does not change it.
func (m moment) since(earlier moment) time.Duration {
	return m.at.Sub(earlier.at) + m.suspended - earlier.suspended
}

// gap is a time in which the process did not run: it was stopped, the machine was suspended, or no processor was free.
type gap struct {
	end    moment
	length time.Duration
}

// pulse detects gaps. What a process reads after a gap may have waited in buffers. Without beats, pulse detects no gap. It is safe for
// concurrent use.
type pulse struct {
	now       func() time.Time
	suspended func() time.Duration

	mutex   sync.Mutex
	beating bool
	last    moment
	// gaps are those that can be the longest after some moment: each is longer than all later ones.
	gaps []gap
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

// beat notes that the process runs, and the gap before, if there is one. Each read calls it as well: after a gap, a read may happen before
// the tick of run.
func (p *pulse) beat() moment {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := p.moment()
	if p.beating {
		if length := p.elapsed(now); length > longestGap {
			p.gaps = slices.DeleteFunc(p.gaps, func(earlier gap) bool { return earlier.length <= length })
			p.gaps = append(p.gaps, gap{now, length})
			close(p.woken)
			p.woken = make(chan struct{})
		}
		p.last = now
	}
	return now
}

// elapsed returns the time since the last beat. A forward step of the wall clock counts: a virtual machine whose host paused it sees nothing
// else. The age of records does not include it.
func (p *pulse) elapsed(now moment) time.Duration {
	return max(now.since(p.last), now.at.Round(0).Sub(p.last.at.Round(0)))
}

// gapAfter returns the longest gap that ended after a moment, if there is one.
func (p *pulse) gapAfter(asked moment) (gap, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, g := range p.gaps {
		if g.end.since(asked) > 0 {
			return g, true
		}
	}
	return gap{}, false
}

// next returns a channel that is closed at the end of the next gap.
func (p *pulse) next() <-chan struct{} {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.woken
}
