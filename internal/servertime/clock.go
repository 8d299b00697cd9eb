// SPDX-License-Identifier: Apache-2.0

// Package servertime tells the time of the API server.
//
// Kubernetes dates objects by the clock of the API server, and users date requests by clocks that agree with it. A manager whose own clock is
// wrong, be it for seconds, would date revisions in the future, which a revocation for now then does not cover, or end overlaps in the past.
// The alternative, to compare the times in objects with each other and find out afterwards which were wrong, cannot know how long the
// clock was wrong, and some objects carry no time of the API server.
//
// Every answer of the API server has a Date header, with whole seconds. A Clock compares it with its own time and follows the API server if
// the two cannot both be right.
package servertime

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// tolerance is how far a clock may be off before it counts as wrong, beside what a Date header leaves open. Clocks that are synchronized
// by NTP differ by much less.
const tolerance = 500 * time.Millisecond

// patience is how long no answer may agree with a Clock before it follows one that does not. The clocks of several API servers, or of a proxy
// that answers in their place, can differ: the Clock keeps to those that it agrees with.
const patience = 10 * time.Second

// maxTook is how long a request may take for its answer to set a Clock. A slow answer leaves open when it was dated, and a webhook can make
// any number of answers slow. With tolerance and the whole seconds of a date this keeps a Clock that is ahead within two seconds. A slow answer
// still disputes a time that was not reached while its request took: otherwise the time of an API server that is fast would count as that of one
// that is slow.
const maxTook = 250 * time.Millisecond

// Clock tells the time of the API server, as far as its answers show it. Until the first answer it is the machine's. It is safe for
// concurrent use.
//
// Between two answers it advances with the monotonic clock: a wall clock that jumps changes nothing until an answer confirms its new time.
type Clock struct {
	// machine reads the clocks of the machine: the wall clock, and how long the monotonic one has run.
	machine  func() (wall time.Time, monotonic time.Duration)
	onChange func(ahead time.Duration)

	mutex sync.Mutex
	// at is the time of the API server when the monotonic clock was at since; zero before the first answer.
	at    time.Time
	since time.Duration
	// confirmed is what the monotonic clock was at when an answer last agreed.
	confirmed time.Duration
	// disputed is until when on the monotonic clock an answer that disagreed counts.
	disputed time.Duration
	// isWrong is set while the wall clock does not agree with the API server.
	isWrong bool
}

// New returns a clock that begins with the machine's time. It calls onChange, which must not block, when the machine's clock is found to be
// wrong, with how far it is ahead of the API server (negative if it is behind), and with zero when it is right again.
func New(onChange func(ahead time.Duration)) *Clock {
	machine := clock.RealClock{}
	start := machine.Now()
	return &Clock{onChange: onChange, machine: func() (time.Time, time.Duration) {
		now := machine.Now()
		return now.Round(0), now.Sub(start) // Round strips the monotonic reading, which Sub goes by
	}}
}

// Now returns the current time.
func (c *Clock) Now() time.Time {
	wall, monotonic := c.machine()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.now(wall, monotonic)
}

// Confirmed reports whether the time is the one that objects are dated by: an answer has shown it, and within the last hour none has disagreed,
// whether the Clock then followed it or not. Where the clocks of API servers differ, an object may be dated by another one.
func (c *Clock) Confirmed() bool {
	_, monotonic := c.machine()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return !c.at.IsZero() && monotonic >= c.disputed
}

// Disputed reports whether an answer has disagreed with the time within the last hour.
func (c *Clock) Disputed() bool {
	_, monotonic := c.machine()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return monotonic < c.disputed
}

// Since returns the time since an earlier one.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *Clock) now(wall time.Time, monotonic time.Duration) time.Time {
	if c.at.IsZero() {
		return wall
	}
	return c.at.Add(monotonic - c.since)
}

// observe compares the clock with the Date header of an answer that has just arrived, to a request that took a while. Answers without the
// header and those from a cache on the way are ignored. Slow ones do not set the clock.
func (c *Clock) observe(header http.Header, took time.Duration) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || header.Get("Age") != "" {
		return
	}
	if ahead, changed := c.follow(date, time.Second+took, took <= maxTook); changed {
		c.onChange(ahead)
	}
}

// follow compares the clock with a time of the API server that began up to open ago, and sets it if the answer may. It reports whether the
// wall clock became wrong or right again, and how far it is ahead.
func (c *Clock) follow(date time.Time, open time.Duration, maySet bool) (ahead time.Duration, changed bool) {
	agrees := func(t time.Time) bool { return !t.Before(date.Add(-tolerance)) && t.Before(date.Add(open+tolerance)) }
	wall, monotonic := c.machine()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := c.now(wall, monotonic)
	if !c.at.IsZero() && !agrees(now) {
		c.disputed = monotonic + time.Hour // also if it is followed: objects from before have the other time
	}
	switch {
	case !maySet:
		return 0, false
	case agrees(wall):
		now = wall // two witnesses; also after the machine was suspended, which stops the monotonic clock
	case agrees(now):
	case c.at.IsZero(), monotonic-c.confirmed > patience:
		now = date.Add(open / 2)
	default:
		return 0, false
	}
	c.at, c.since, c.confirmed = now, monotonic, monotonic
	changed, c.isWrong = c.isWrong == agrees(wall), !agrees(wall)
	return wall.Sub(now), changed
}

// Observing returns a transport whose answers the clock is compared with.
func (c *Clock) Observing(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		_, began := c.machine()
		response, err := next.RoundTrip(request)
		if err == nil {
			_, ended := c.machine()
			c.observe(response.Header, ended-began)
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
