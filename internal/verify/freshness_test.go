// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"testing"
	"time"
)

// fakeClock is a time that a test sets.
type fakeClock struct{ at time.Time }

func (c *fakeClock) now() time.Time       { return c.at }
func (c *fakeClock) pass(d time.Duration) { c.at = c.at.Add(d) }
func newClock() *fakeClock                { return &fakeClock{epoch} }
func (f *Freshness) list(sources ...int) { // as a watcher does
	for _, i := range sources {
		f.synced(i)
		f.delivered(i)
	}
}

var denyAfter2m = Bound{MaxStaleness: 2 * time.Minute}

func TestNothingIsAnsweredBeforeEverySourceIsComplete(t *testing.T) {
	c := newClock()
	f := newFreshness(2, c.now)
	serve := Bound{MaxStaleness: time.Minute, Serve: true}
	for _, i := range []int{0, 1} {
		if f.answers(c.at, denyAfter2m) || f.answers(c.at, serve) || f.ready(c.at, serve) || f.condition(c.at, serve) != starting {
			t.Errorf("it answers with %d of 2 sources", i)
		}
		f.list(i)
	}
	if !f.answers(c.at, denyAfter2m) || !f.ready(c.at, denyAfter2m) || f.condition(c.at, denyAfter2m) != fresh {
		t.Error("it does not answer although all is known")
	}
}

func TestTheBoundHoldsExactly(t *testing.T) {
	c := newClock()
	f := newFreshness(2, c.now)
	f.list(0, 1)
	serve := Bound{MaxStaleness: 2 * time.Minute, Serve: true}
	steps := []struct {
		pass                   time.Duration
		ready, answers, served bool
		is                     condition
	}{
		{90 * time.Second, true, true, true, fresh},
		{1, false, true, true, late},
		{30*time.Second - 1, false, true, true, late},
		{1, false, false, true, stale},
		{time.Hour, false, false, true, stale},
	}
	for i, s := range steps {
		c.pass(s.pass)
		f.delivered(0) // one that is heard of does not make up for one that is not
		if f.ready(c.at, denyAfter2m) != s.ready || f.answers(c.at, denyAfter2m) != s.answers || f.answers(c.at, serve) != s.served {
			t.Errorf("step %d: ready %t, answers %t", i, f.ready(c.at, denyAfter2m), f.answers(c.at, denyAfter2m))
		}
		if is := f.condition(c.at, denyAfter2m); is != s.is {
			t.Errorf("step %d: %s", i, is)
		}
	}
	if f.condition(c.at, serve) != serving {
		t.Error("that it serves what is stale is not said")
	}
	f.delivered(1)
	if !f.answers(c.at, denyAfter2m) || !f.ready(c.at, denyAfter2m) {
		t.Error("it does not come back")
	}
}

func TestAClockThatIsSetMakesNothingYoung(t *testing.T) {
	c := newClock()
	c.at = time.Now()
	f := newFreshness(1, c.now)
	f.list(0)
	slept := c.at.Round(0).Add(3 * time.Minute) // the monotonic clock stood still
	if f.answers(slept, denyAfter2m) {
		t.Error("after a sleep it takes what it knew for fresh")
	}
	if age := f.Age(c.at.Add(3 * time.Minute)); age < 3*time.Minute {
		t.Errorf("the age is %s", age)
	}
}

func TestAWatchIsOpenedTwiceWithinEveryBound(t *testing.T) {
	for bound := minStaleness; bound < time.Hour; bound += time.Second {
		if 2*watchSpan(bound) > min(bound, lagging) {
			t.Fatalf("--max-staleness=%s: watches of %s", bound, watchSpan(bound))
		}
	}
}
