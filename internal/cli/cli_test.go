// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"dgbot.io/key-operator/internal/cli/clitest"
)

// call runs kubectl dgbot, and returns what it writes and its exit code.
func call(t *testing.T, stdin string, args ...string) (out, said string, code int) {
	t.Helper()
	return clitest.Call(t, NewCommand, stdin, args...)
}
