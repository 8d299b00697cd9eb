// SPDX-License-Identifier: Apache-2.0

package scratch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMake_StopsBeforeItCompiles where a variable of a release is missing: with one line that names it.
func TestMake_StopsBeforeItCompiles(t *testing.T) {
	for args, want := range map[string]string{
		"release":                    "*** IMAGE is not set: make release IMAGE=<registry>/dgbot-key-operator:1.2.3",
		"release IMAGE=":             "*** IMAGE is not set: make release ",
		"image-push":                 "*** IMAGE is not set: make image-push ",
		"plugin":                     "*** VERSION is not set: make plugin VERSION=v0.1.0 URL=https://",
		"plugin VERSION=v1.0.0":      "*** URL is not set: make plugin VERSION=v0.1.0 URL=https://",
		"plugin URL=https://a.test/": "*** VERSION is not set: make plugin ",
	} {
		t.Run(args, func(t *testing.T) {
			calls := filepath.Join(t.TempDir(), "calls")
			command := exec.CommandContext(t.Context(), "make", append([]string{"-C", filepath.Join("..", "..")}, strings.Fields(args)...)...)
			// The Makefile itself asks 'go env' for the race detector.
			command.Env = append(fakes(t, map[string]string{"go": `[ "$1" = env ] || echo "$@" >>` + calls}), "IMAGE=", "VERSION=", "URL=", "MAKEFLAGS=", "MAKELEVEL=")
			out, err := command.CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) || strings.Count(string(out), "***") != 1 {
				t.Errorf("%v, want %s\n%s", err, want, out)
			}
			if called, err := os.ReadFile(calls); err == nil {
				t.Errorf("it compiles: go %s", called)
			}
		})
	}
}
