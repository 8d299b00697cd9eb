// SPDX-License-Identifier: Apache-2.0

package scratch

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRequire_NamesFolderAndVariable(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(Variable, folder)
	if err := Require(1); err != nil {
		t.Errorf("one byte: %v", err)
	}
	err := Require(math.MaxUint64)
	if err == nil || !strings.Contains(err.Error(), "temporary folder "+folder+" has ") || !strings.Contains(err.Error(), "set TMPDIR to a folder with more space") {
		t.Errorf("too much: %v", err)
	}
	missing := filepath.Join(folder, "missing")
	t.Setenv(Variable, missing)
	if err := Require(1); err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("a folder that does not exist: %v", err)
	}
	if _, err := Folder("dgbot-"); err == nil || !strings.Contains(err.Error(), "there is no folder "+missing+": set TMPDIR") {
		t.Errorf("a folder in one that does not exist: %v", err)
	}
}

func TestExplain_NamesFolderAndVariableOfAFullDisk(t *testing.T) {
	t.Setenv(Variable, "/small")
	const want = "; temporary files are in /small: set TMPDIR to a folder with more space"
	for _, err := range []error{
		fmt.Errorf("writing: %w", &os.PathError{Op: "write", Path: "/small/a", Err: syscall.ENOSPC}),
		errors.New("exit status 1\nlink: write /small/go-link-1/a.out: no space left on device\n"), //nolint:revive // as the Go command prints it
	} {
		if got := Explain(err); got.Error() != err.Error()+want || !errors.Is(got, err) {
			t.Errorf("%v", got)
		}
	}
	for _, err := range []error{nil, errors.New("exit status 1\nundefined: x")} {
		if got := Explain(err); !errors.Is(got, err) || (err != nil && got.Error() != err.Error()) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// fakes returns an environment in which programs of these names are shell scripts with these contents.
func fakes(t *testing.T, scripts map[string]string) []string {
	t.Helper()
	folder := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestScripts_NameFolderAndVariableOfAFullDisk(t *testing.T) {
	temporary := t.TempDir()
	for name, test := range map[string]struct {
		args  []string
		fakes map[string]string
		want  string
	}{
		"the build of the control plane": {
			args: []string{filepath.Join("..", "..", "hack", "controlplane", "build.sh"), t.TempDir()},
			fakes: map[string]string{"go": `case "$1" in
list) echo v1.37.0 ;;
env) echo /cache ;;
build) echo "go build x: write $TMPDIR/go-build1/a: no space left on device" >&2; exit 1 ;;
esac`},
			want: "no space left: the build writes to " + temporary + " (TMPDIR), /cache (GOCACHE) and ",
		},
		"make verify": {
			args:  []string{filepath.Join("..", "..", "hack", "verify", "verify.sh")},
			fakes: map[string]string{"df": `echo "Filesystem 1024-blocks Used Available Capacity Mounted on"; echo "tmpfs 65536 60000 5536 92% /small"`},
			want:  "verify: " + temporary + " (TMPDIR) has 5 MiB free and 1024 MiB are needed: set TMPDIR to a folder with more space",
		},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), "bash", test.args...)
			command.Env = append(fakes(t, test.fakes), Variable+"="+temporary, "GOTMPDIR=")
			out, err := command.CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v, want %s\n%s", err, test.want, out)
			}
		})
	}
}
