// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"testing"
	"time"
	"unsafe"

	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

func (f *Freshness) list(watches ...int) { // as a watcher does
	for _, i := range watches {
		f.listed(i, f.registration.present.Load())
		f.answered(i, f.pulse.moment())
	}
}

// within returns the same freshness with another bound.
func (f *Freshness) within(bound Bound) *Freshness {
	same := unregisteredFreshness(0, f.pulse)
	same.watches, same.bound = f.watches, bound
	return same
}

// unregisteredFreshness returns the Freshness of a process that does not register.
func unregisteredFreshness(watches int, p *pulse) *Freshness {
	return newFreshness(make([]registration.Watch, watches), p, denyAfter2m, false)
}

var denyAfter2m = Bound{MaxStaleness: 2 * time.Minute}

func TestFreshness_RequiresACompleteListOfEverySource(t *testing.T) {
	c := verifytest.NewClock()
	f := unregisteredFreshness(2, newPulse(c.Now))
	serve := f.within(Bound{MaxStaleness: time.Minute, Serve: true})
	for _, i := range []int{0, 1} {
		if f.Answers(c.Now()) || serve.Answers(c.Now()) || serve.Ready(c.Now()) || serve.Condition(c.Now()) != starting {
			t.Errorf("it answers with %d of 2 watches", i)
		}
		f.list(i)
	}
	if !f.Answers(c.Now()) || !f.Ready(c.Now()) || f.Condition(c.Now()) != fresh {
		t.Error("it does not answer although all is known")
	}
}

func TestFreshness_KeepsTheBoundExactly(t *testing.T) {
	c := verifytest.NewClock()
	f := unregisteredFreshness(2, newPulse(c.Now))
	f.list(0, 1)
	serve := f.within(Bound{MaxStaleness: 2 * time.Minute, Serve: true})
	steps := []struct {
		pass                   time.Duration
		ready, answers, served bool
		is                     string
	}{
		{90 * time.Second, true, true, true, fresh},
		{1, false, true, true, late},
		{30*time.Second - 1, false, true, true, late},
		{1, false, false, true, stale},
		{time.Hour, false, false, true, stale},
	}
	for i, s := range steps {
		c.Pass(s.pass)
		f.delivered(0, f.pulse.moment()) // one that is heard of does not make up for one that is not
		if f.Ready(c.Now()) != s.ready || f.Answers(c.Now()) != s.answers || serve.Answers(c.Now()) != s.served {
			t.Errorf("step %d: ready %t, answers %t", i, f.Ready(c.Now()), f.Answers(c.Now()))
		}
		if is := f.Condition(c.Now()); is != s.is {
			t.Errorf("step %d: %s", i, is)
		}
	}
	if serve.Condition(c.Now()) != serving {
		t.Error("that it serves what is stale is not said")
	}
	f.delivered(1, f.pulse.moment())
	if !f.Answers(c.Now()) || !f.Ready(c.Now()) {
		t.Error("it does not come back")
	}
}

// machine is a machine whose clocks a test moves.
type machine struct {
	running, suspended time.Duration
}

var bootTime = time.Now()

// freshness returns the Freshness of a process that runs on the machine.
func (m *machine) freshness() *Freshness {
	f := unregisteredFreshness(1, newPulse(m.now))
	f.pulse.suspended = func() time.Duration { return m.suspended }
	f.pulse.begin()
	return f
}

func (m *machine) now() time.Time { return bootTime.Add(m.running) }

func (m *machine) run(f *Freshness, span time.Duration) {
	for ; span > 0; span -= beatInterval {
		m.running += min(span, beatInterval)
		f.pulse.beat()
	}
}

func TestFreshness_AgesWhileTheMachineIsSuspended(t *testing.T) {
	m := &machine{}
	f := m.freshness()
	f.list(0)
	m.suspended = 3 * time.Minute // the monotonic clock stands still
	if f.Answers(m.now()) || f.age(f.at(m.now())) != 3*time.Minute {
		t.Errorf("after a suspension the age is %s", f.age(f.at(m.now())))
	}
	f.delivered(0, moment{at: bootTime})
	if f.Answers(m.now()) {
		t.Error("an event that was read after it counts as fresh")
	}
	f.answered(0, f.pulse.moment())
	if !f.Answers(m.now()) {
		t.Error("a new answer does not count")
	}
}

// TestFreshness_DoesNotAgeByAStepOfTheWallClock takes a time of the past, whose wall clock a test can tell from its monotonic one.
func TestFreshness_DoesNotAgeByAStepOfTheWallClock(t *testing.T) {
	f := unregisteredFreshness(1, newPulse(time.Now))
	f.list(0)
	stepped := time.Now()
	setWallClock(&stepped, time.Hour)
	if ahead := stepped.Round(0).Sub(time.Now().Round(0)); ahead < 59*time.Minute {
		t.Fatalf("the wall clock is %s ahead", ahead)
	}
	if age := f.age(f.at(stepped)); age > time.Minute {
		t.Errorf("the age is %s", age)
	}
}

// setWallClock moves the wall clock of a time and leaves its monotonic one: no API of time does. In a time that has both, the first word
// holds the wall clock, with the seconds from bit 30 on.
func setWallClock(at *time.Time, step time.Duration) {
	(*struct{ wall uint64 })(unsafe.Pointer(at)).wall += uint64(step/time.Second) << 30
}

func TestFreshness_IsNotMovedByWhatWaitedInBuffers(t *testing.T) {
	for name, tc := range map[string]struct {
		pause time.Duration
		moved bool
	}{"a moment": {900 * time.Millisecond, true}, "longer than a moment": {1200 * time.Millisecond, false}, "a minute": {time.Minute, false}} {
		for _, first := range []string{"the read", "the ticker"} {
			m := &machine{}
			f := m.freshness()
			f.list(0)
			asked := f.pulse.moment()
			m.run(f, 10*time.Second)
			f.delivered(0, asked)
			if f.age(f.at(m.now())) != 0 {
				t.Fatalf("%s: the age is %s while the process runs", name, f.age(f.at(m.now())))
			}
			woken := f.pulse.next()
			m.running += tc.pause
			if first == "the ticker" {
				f.pulse.beat()
			}
			f.delivered(0, asked)
			if moved := f.age(f.at(m.now())) == 0; moved != tc.moved {
				t.Errorf("%s, %s first: the age is %s after a pause", name, first, f.age(f.at(m.now())))
			}
			select {
			case <-woken:
				if tc.moved {
					t.Errorf("%s: watches are ended", name)
				}
			default:
				if !tc.moved {
					t.Errorf("%s: watches go on", name)
				}
			}
			// Later events of the same watch do not count either; those of the next watch do.
			m.run(f, 5*time.Second)
			f.delivered(0, asked)
			if moved := f.age(f.at(m.now())) == 0; moved != tc.moved {
				t.Errorf("%s: the age is %s after a later event", name, f.age(f.at(m.now())))
			}
			f.delivered(0, f.pulse.moment())
			if f.age(f.at(m.now())) != 0 {
				t.Errorf("%s: the age is %s after an event of a new watch", name, f.age(f.at(m.now())))
			}
		}
	}
}

// TestFreshness_CountsAnAnswerFromItsRequestOn, because the process may have been stopped between the answer and its reading.
func TestFreshness_CountsAnAnswerFromItsRequestOn(t *testing.T) {
	m := &machine{}
	f := m.freshness()
	f.list(0)
	m.run(f, time.Minute)
	asked := f.pulse.moment()
	m.running += 90 * time.Second
	f.answered(0, asked)
	if age := f.age(f.at(m.now())); age != 90*time.Second {
		t.Errorf("the age is %s", age)
	}
	f.answered(0, moment{at: bootTime})
	if age := f.age(f.at(m.now())); age != 90*time.Second {
		t.Errorf("an earlier answer makes it %s", age)
	}
}

func TestPulse_TakesAStepOfTheWallClockForAGap(t *testing.T) {
	// A time without a monotonic clock is a time of the wall clock.
	at := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	p := newPulse(func() time.Time { return at })
	p.begin()
	before := p.moment()
	at = at.Add(-time.Hour)
	p.beat()
	if _, is := p.gapAfter(before); is {
		t.Error("a step back is a gap")
	}
	before = p.moment()
	at = at.Add(time.Hour)
	p.beat()
	if gap, is := p.gapAfter(before); !is || gap.length != time.Hour {
		t.Errorf("a step of an hour is a gap of %s", gap.length)
	}
}

// TestPulse_FindsTheLongestGap: a short gap after a long one does not hide it.
func TestPulse_FindsTheLongestGap(t *testing.T) {
	m := &machine{}
	p := m.freshness().pulse
	var moments []moment
	for _, length := range []time.Duration{10 * time.Second, 3 * time.Second, time.Minute, 2 * time.Second} {
		moments = append(moments, p.moment())
		m.running += length
		p.beat()
	}
	for i, want := range []time.Duration{time.Minute, time.Minute, time.Minute, 2 * time.Second} {
		if found, is := p.gapAfter(moments[i]); !is || found.length != want {
			t.Errorf("after moment %d the longest gap is %s, want %s", i, found.length, want)
		}
	}
	if found, is := p.gapAfter(p.moment()); is {
		t.Errorf("a gap of %s is found after the last one", found.length)
	}
}

func TestTimeSuspended_StaysWhileTheMachineRuns(t *testing.T) {
	before := timeSuspended()
	for range 1000 {
		if now := timeSuspended(); now != before {
			t.Fatalf("%s became %s", before, now)
		}
	}
}

func TestWatchSpan_FitsTwiceIntoEveryBound(t *testing.T) {
	for bound := minStaleness; bound < time.Hour; bound += time.Second {
		if 2*watchSpan(bound) > min(bound, lagging) {
			t.Fatalf("--max-staleness=%s: watches of %s", bound, watchSpan(bound))
		}
	}
}
