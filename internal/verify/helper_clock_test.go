// SPDX-License-Identifier: Apache-2.0

package verify

import "time"

// fakeClock is a time that a test sets.
type fakeClock struct{ at time.Time }

func (c *fakeClock) now() time.Time       { return c.at }
func (c *fakeClock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newClock() *fakeClock { return &fakeClock{epoch} }
