// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package feed

import "time"

// timeSuspended returns 0: only Linux tells.
func timeSuspended() time.Duration { return 0 }
