// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// horizon is the clock of one plan. It reports whether an instant has been reached, and keeps the earliest of those that have not: until
// then no rule can decide otherwise. So the next wake-up follows from what the rules asked. A list of instants beside the rules was
// refused, because a rule that is forgotten in it takes effect late, and no test of the rule notices.
//
// A rule may use now itself for what it writes down, and never to compare.
type horizon struct {
	now time.Time
	// next is zero where no instant is to come.
	next time.Time
}

// reached reports whether an instant has come.
func (h *horizon) reached(at time.Time) bool {
	if !h.now.Before(at) {
		return true
	}
	h.wakeBy(at)
	return false
}

// wakeBy has the owner planned again at a time, unless that is zero. It is for what does not depend on a known instant, such as a write
// that is retried.
func (h *horizon) wakeBy(at time.Time) {
	if at.After(h.now) && (h.next.IsZero() || at.Before(h.next)) {
		h.next = at
	}
}
