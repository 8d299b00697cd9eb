// SPDX-License-Identifier: Apache-2.0

package verifytest

import "time"

// Clock is a clock that a test sets.
type Clock struct{ at time.Time }

// NewClock returns a clock at Epoch.
func NewClock() *Clock { return &Clock{Epoch} }

// Now returns the time.
func (c *Clock) Now() time.Time { return c.at }

// Pass advances the time.
func (c *Clock) Pass(d time.Duration) { c.at = c.at.Add(d) }
