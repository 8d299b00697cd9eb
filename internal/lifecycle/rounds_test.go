// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "testing"

// Rounds is how often a test repeats what is random: full, or fewer times with -short, which is for quick answers while one changes the code.
// CI runs without it.
func Rounds(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}
