// SPDX-License-Identifier: Apache-2.0

package servertime

import (
	"net/http"
	"testing"
	"time"
)

// world has the right time, and a machine whose wall clock is off.
type world struct {
	t       *testing.T
	right   time.Time
	ahead   time.Duration
	clock   *Clock
	changes []time.Duration
	started time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	start := time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC)
	w := &world{t: t, right: start, started: start}
	w.clock = New(func(ahead time.Duration) { w.changes = append(w.changes, ahead) })
	w.clock.machine = func() (time.Time, time.Duration) { return w.right.Add(w.ahead), w.right.Sub(w.started) }
	return w
}

func dated(at time.Time) http.Header {
	return http.Header{"Date": {at.UTC().Format(http.TimeFormat)}}
}

// answer lets the API server answer a request.
func (w *world) answer() { w.clock.observe(dated(w.right), 0) }

func (w *world) wantRight() {
	w.t.Helper()
	if off := w.clock.Now().Sub(w.right); off.Abs() > time.Second {
		w.t.Errorf("the clock is at %s, %s off", w.clock.Now(), off)
	}
}

func TestClock_FollowsTheAPIServer(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"a year ahead": 365 * 24 * time.Hour, "3 s ahead": 3 * time.Second, "3 s behind": -3 * time.Second, "10 min behind": -10 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ahead = ahead
			for range 100 {
				w.answer()
				w.wantRight()
				w.right = w.right.Add(77 * time.Second / 10)
				w.wantRight()
			}
			if len(w.changes) != 1 || (w.changes[0]-ahead).Abs() > time.Second {
				t.Errorf("reported %v, want %s once", w.changes, ahead)
			}
			w.ahead = 0
			w.answer()
			w.wantRight()
			if len(w.changes) != 2 || w.changes[1] != 0 || !w.clock.Now().Equal(w.right) {
				t.Errorf("the machine's clock is right again: %s of %s, reported %v", w.clock.Now(), w.right, w.changes)
			}
		})
	}
}

// TestClock_TakesNoJumpForTime: between two answers the wall clock jumps, and a moment later back.
func TestClock_TakesNoJumpForTime(t *testing.T) {
	w := newWorld(t)
	w.answer()
	for _, jump := range []time.Duration{365 * 24 * time.Hour, -time.Hour, 0} {
		w.ahead = jump
		w.right = w.right.Add(time.Second)
		w.wantRight()
	}
	if len(w.changes) > 0 {
		t.Errorf("reported %v", w.changes)
	}
}

// TestClock_KnowsThatAMachineWasSuspended: the monotonic clock stands still meanwhile.
func TestClock_KnowsThatAMachineWasSuspended(t *testing.T) {
	w := newWorld(t)
	w.answer()
	w.right, w.started = w.right.Add(time.Hour), w.started.Add(time.Hour)
	w.answer()
	w.wantRight()
	if len(w.changes) > 0 {
		t.Errorf("reported %v", w.changes)
	}
}

// TestClock_StaysTheMachinesWhileItIsRight: the whole seconds of the API server do not move it, and neither do slow answers.
func TestClock_StaysTheMachinesWhileItIsRight(t *testing.T) {
	w := newWorld(t)
	for i := range 1000 {
		took := time.Duration(i%10) * 25 * time.Millisecond
		w.clock.observe(dated(w.right.Add(-took)), took)
		if !w.clock.Now().Equal(w.right) {
			t.Fatalf("the clock is at %s, the machine's at %s", w.clock.Now(), w.right)
		}
		w.right = w.right.Add(7777 * time.Microsecond)
	}
	if len(w.changes) > 0 {
		t.Errorf("reported %v", w.changes)
	}
}

// TestClock_KeepsToTheServersThatItAgreesWith: of two API servers one is 20 s ahead. The clock does not go back and forth, whichever answers
// first, and whether the machine's clock is right or not.
func TestClock_KeepsToTheServersThatItAgreesWith(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"the machine is right": 0, "the machine is wrong": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ahead = ahead
			w.answer()
			reported := len(w.changes)
			for range 1000 {
				w.right = w.right.Add(50 * time.Millisecond)
				w.clock.observe(dated(w.right.Add(20*time.Second)), 0)
				w.wantRight()
				w.answer()
				w.wantRight()
			}
			if len(w.changes) != reported {
				t.Errorf("reported %v", w.changes)
			}
			if w.clock.Confirmed() {
				t.Error("the time counts as the one that objects are dated by, and one API server has another")
			}
			w.right = w.right.Add(time.Hour)
			if w.answer(); !w.clock.Confirmed() {
				t.Error("an API server that was wrong an hour ago still counts")
			}
		})
	}
}

// TestClock_IgnoresSlowAnswers: a webhook that takes its time makes answers whose date proves nothing. They must not undo a correction.
func TestClock_IgnoresSlowAnswers(t *testing.T) {
	w := newWorld(t)
	w.ahead = 8 * time.Second
	w.clock.observe(dated(w.right.Add(-5*time.Second)), 10*time.Second)
	w.answer()
	for range 100 {
		w.right = w.right.Add(3 * time.Second)
		w.clock.observe(dated(w.right), 10*time.Second)
		w.wantRight()
	}
	w.answer()
	w.wantRight()
	if len(w.changes) != 1 {
		t.Errorf("reported %v, want one change", w.changes)
	}
}

// TestClock_LetsSlowAnswersDispute: an API server that is slow does not set the clock. If it cannot have the clock's time, that counts all the
// same: objects that it creates have another one.
func TestClock_LetsSlowAnswersDispute(t *testing.T) {
	w := newWorld(t)
	w.answer()
	for _, took := range []time.Duration{300 * time.Millisecond, 10 * time.Second} {
		w.clock.observe(dated(w.right.Add(-took)), took)
		w.clock.observe(dated(w.right), took)
		if !w.clock.Confirmed() {
			t.Errorf("a date within the %s of the request disputes the time", took)
		}
	}
	w.clock.observe(dated(w.right.Add(-15*time.Second)), 10*time.Second)
	w.wantRight()
	if w.clock.Confirmed() {
		t.Error("a date from before the request does not dispute the time")
	}
}

// TestClock_IsDisputedByAServerThatItFollows: what was created before has the time of the earlier API server.
func TestClock_IsDisputedByAServerThatItFollows(t *testing.T) {
	for name, first := range map[string]time.Duration{"the machine is right": 90 * time.Second, "the machine is wrong": 0} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.clock.observe(dated(w.right.Add(first)), 0)
			w.right = w.right.Add(2 * patience)
			then := 90*time.Second - first
			w.clock.observe(dated(w.right.Add(then)), 0)
			if off := w.clock.Now().Sub(w.right.Add(then)); off.Abs() > time.Second {
				t.Errorf("the clock is %s off", off)
			}
			if w.clock.Confirmed() {
				t.Error("the time counts as the one that objects are dated by, and earlier objects have another one")
			}
		})
	}
}

// TestClock_FollowsTheMachineWithAnyServer: the first answer came from an API server that is wrong and goes on answering. The machine and
// another API server agree.
func TestClock_FollowsTheMachineWithAnyServer(t *testing.T) {
	w := newWorld(t)
	w.clock.observe(dated(w.right.Add(20*time.Second)), 0)
	for range 10 {
		w.answer()
		w.wantRight()
		w.clock.observe(dated(w.right.Add(20*time.Second)), 0)
		w.wantRight()
		w.right = w.right.Add(time.Second)
	}
}

// TestClock_LeavesAServerThatWasWrong: the first answer came from an API server whose clock was wrong, which then does not answer any more.
func TestClock_LeavesAServerThatWasWrong(t *testing.T) {
	w := newWorld(t)
	w.clock.observe(dated(w.right.Add(time.Hour)), 0)
	for range 3 {
		w.right = w.right.Add(6 * time.Second)
		w.answer()
	}
	w.wantRight()
	if len(w.changes) != 2 || w.changes[1] != 0 {
		t.Errorf("reported %v", w.changes)
	}
}

// TestClock_IgnoresAnswersWithoutTime: what proxies on the way add or leave out does not set it.
func TestClock_IgnoresAnswersWithoutTime(t *testing.T) {
	w := newWorld(t)
	old := dated(w.right.Add(-time.Hour))
	old.Set("Age", "3600")
	for _, header := range []http.Header{{}, {"Date": {"yesterday"}}, old} {
		w.clock.observe(header, 0)
		w.wantRight()
	}
	if w.clock.Confirmed() {
		t.Error("the time counts as the API server's, which has not shown it")
	}
	if w.answer(); !w.clock.Confirmed() {
		t.Error("the time does not count as the API server's, which has shown it")
	}
}

func TestObserving_ComparesEachAnswer(t *testing.T) {
	w := newWorld(t)
	w.ahead = time.Hour
	transport := w.clock.Observing(roundTripper(func(*http.Request) (*http.Response, error) { return &http.Response{Header: dated(w.right)}, nil }))
	if _, err := transport.RoundTrip(nil); err != nil { //nolint:bodyclose // it has none
		t.Fatal(err)
	}
	w.wantRight()
}
