// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// suspensionNoise is the largest difference of the two clocks that counts as none, because they are not read at the same time.
const suspensionNoise = 10 * time.Millisecond

var longestSuspension atomic.Int64

// timeSuspended returns the time for which the machine was suspended since its start. During suspension, CLOCK_BOOTTIME advances and
// CLOCK_MONOTONIC does not. If a clock cannot be read, timeSuspended returns its previous result.
func timeSuspended() time.Duration {
	var total, running unix.Timespec
	known := longestSuspension.Load()
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &total) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &running) != nil {
		return time.Duration(known)
	}
	// CLOCK_MONOTONIC is read later, so the difference is never too large.
	if suspended := total.Nano() - running.Nano(); suspended > known+int64(suspensionNoise) && longestSuspension.CompareAndSwap(known, suspended) {
		return time.Duration(suspended)
	}
	return time.Duration(longestSuspension.Load())
}
