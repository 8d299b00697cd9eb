// SPDX-License-Identifier: Apache-2.0

package display_test

import (
	"os/exec"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/display"
)

// TestShellCommand_IsWhatWasMeant for a real shell, whatever is in its words.
func TestShellCommand_IsWhatWasMeant(t *testing.T) {
	for _, word := range []string{"web", "deployment/web", "spec.keyID=7Hq2", "", " ", "'", "''", `\`, "~root", "=cmd", "a*", "#x", "$(id)", "`id`", "; id", "a\nb", "é", "!x", clitest.Hostile[:20]} {
		ran, err := exec.Command("sh", "-c", "show() { printf '<%s>' \"$@\"; }; "+display.ShellCommand("show", word, "-n", word)).Output()
		if want := "<" + display.OneLine(word) + "><-n><" + display.OneLine(word) + ">"; word != " " && (err != nil || string(ran) != want) {
			t.Errorf("%q: %s, %v", word, ran, err)
		}
	}
	if got := display.ShellCommand("kubectl", "rollout", "restart", "deployment/web", "-n", "support"); strings.Contains(got, "'") {
		t.Errorf("%s is quoted without need", got)
	}
}
