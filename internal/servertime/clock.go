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
	// offset is how far the wall clock was ahead then. It changes when the wall clock jumps, and when the machine was suspended, which stops
	// the monotonic clock.
	offset time.Duration
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

// Since returns the time since an earlier one.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *Clock) now(wall time.Time, monotonic time.Duration) time.Time {
	if c.at.IsZero() {
		return wall
	}
	return c.at.Add(monotonic - c.since)
}

// observe compares the clock with the Date header of an answer that has just arrived, to a request that took a while. Answers without the
// header, and those from a cache on the way, are ignored.
func (c *Clock) observe(header http.Header, took time.Duration) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || header.Get("Age") != "" {
		return
	}
	// The API server wrote the header at any time since the request, and its clock was anywhere in the second.
	open := time.Second + took
	agrees := func(t time.Time) bool { return !t.Before(date.Add(-tolerance)) && t.Before(date.Add(open+tolerance)) }
	wall, monotonic := c.machine()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := c.now(wall, monotonic)
	offset := wall.Sub(now)
	isNew := c.at.IsZero() || monotonic-c.confirmed > patience
	switch {
	case agrees(wall) && (isNew || agrees(now) || (offset-c.offset).Abs() > tolerance):
		now, offset = wall, 0
	case agrees(now):
	case isNew:
		now = date.Add(open / 2)
		offset = wall.Sub(now)
	default:
		return
	}
	c.at, c.since, c.confirmed, c.offset = now, monotonic, monotonic, offset
	if isWrong := !agrees(wall); isWrong != c.isWrong {
		c.isWrong = isWrong
		c.onChange(offset)
	}
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
