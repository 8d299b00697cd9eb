// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package feed

import "time"

// timeSuspended returns 0: only on Linux is the time known.
func timeSuspended() time.Duration { return 0 }
