// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestFlagsAreRefusedWithAWordOnWhatIsWrong: before anything is asked of an API server.
func TestFlagsAreRefusedWithAWordOnWhatIsWrong(t *testing.T) {
	if err := built(); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"--watch-namespaces=":                    "leave the flag out to work in all",
		"--watch-namespaces=sales,":              "a namespace is empty",
		"--watch-namespaces=sales,Team A":        `"Team A" cannot be the name of a namespace`,
		"--watch-namespaces=*":                   `"*" cannot be the name of a namespace`,
		"--watch-namespaces=a.b":                 `"a.b" cannot be the name of a namespace`,
		"--secret-access=list":                   `--secret-access is "list": want watch or get-only`,
		"--secret-access=":                       `--secret-access is "": want watch or get-only`,
		"--secret-check-interval=0s":             "--secret-check-interval is 0s: want at least 1s",
		"--secret-check-interval=5":              "invalid value",
		"--max-concurrent-reconciles=0":          "--max-concurrent-reconciles is 0: want at least 1",
		"--watch-namespaces=a,a, b,b --nonsense": "flag provided but not defined",
	} {
		t.Run(flag, func(t *testing.T) {
			args := strings.Split(strings.ReplaceAll(flag, " --", "\n--"), "\n")
			out, err := exec.CommandContext(t.Context(), filepath.Join(controlplane.Repository(), "bin", "manager"), args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("%v, and says:\n%s", err, out)
			}
		})
	}
}
