// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// suspensionNoise is how far apart the two clocks may seem because they are not read at the same time.
const suspensionNoise = 10 * time.Millisecond

var longestSuspension atomic.Int64

// timeSuspended returns how long the machine was suspended since it started. CLOCK_BOOTTIME goes on then, CLOCK_MONOTONIC does not.
// Where the clocks cannot be read, it returns what it returned before.
func timeSuspended() time.Duration {
	var total, running unix.Timespec
	known := longestSuspension.Load()
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &total) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &running) != nil {
		return time.Duration(known)
	}
	// The second clock is read later, so the difference is never too large.
	if suspended := total.Nano() - running.Nano(); suspended > known+int64(suspensionNoise) && longestSuspension.CompareAndSwap(known, suspended) {
		return time.Duration(suspended)
	}
	return time.Duration(longestSuspension.Load())
}
