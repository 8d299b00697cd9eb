// SPDX-License-Identifier: Apache-2.0

// Package instant has times as the API has them, and the clock of one plan, which remembers what it was asked.
package instant

import (
	"time"
)

// Horizon is the clock of one plan. It reports whether an instant has been reached, and keeps the earliest of those that have not: until
// then no rule can decide otherwise. So the next wake-up follows from what the rules asked. A list of instants beside the rules was
// refused, because a rule that is forgotten in it takes effect late, and no test of the rule notices.
//
// A rule may use now itself for what it writes down, and never to compare.
type Horizon struct {
	Now time.Time
	// Next is zero where no instant is to come.
	Next time.Time
}

// Reached reports whether an instant has come.
func (h *Horizon) Reached(at time.Time) bool {
	if !h.Now.Before(at) {
		return true
	}
	h.WakeBy(at)
	return false
}

// WakeBy has the owner planned again at a time, unless that is zero. It is for what does not depend on a known instant, such as a write
// that is retried.
func (h *Horizon) WakeBy(at time.Time) {
	if at.After(h.Now) && (h.Next.IsZero() || at.Before(h.Next)) {
		h.Next = at
	}
}
