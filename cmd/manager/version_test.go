// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersion_OfEveryProgram is one line on standard output, without a cluster to talk to.
func TestVersion_OfEveryProgram(t *testing.T) {
	if _, _, err := parse([]string{"--version"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("the manager goes on: %v", err)
	}
	for _, program := range []string{"manager", "verifier", "kubectl-dgbot"} {
		path := filepath.Join(t.TempDir(), program)
		build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-X dgbot.io/key-operator/internal/version.value=v1.2.3", "-o", path, "../"+program)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), program+" v1.2.3 (") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v: %q", program, err, out)
		}
	}
}
