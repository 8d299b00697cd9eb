// SPDX-License-Identifier: Apache-2.0

package verifytest

import "time"

// Clock is a time that a test sets.
type Clock struct{ at time.Time }

func (c *Clock) Now() time.Time       { return c.at }
func (c *Clock) Pass(d time.Duration) { c.at = c.at.Add(d) }

func NewClock() *Clock { return &Clock{Epoch} }
