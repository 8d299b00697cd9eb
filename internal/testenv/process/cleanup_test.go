// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// ProcessesName is the name of the folder with process numbers, for tests that import packages which import this one.
const ProcessesName = processesName

// IsRemoved reports whether there is nothing at a path.
func IsRemoved(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// TestNewRun_LeavesNothingWhenItFails to start its cleanup process.
func TestNewRun_LeavesNothingWhenItFails(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	broken := errors.New("no more processes")
	if r, err := newRun(func(*exec.Cmd) error { return broken }); !errors.Is(err, broken) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestRemoveDeadRuns_LeavesForeignFolders: a name alone makes no folder ours.
func TestRemoveDeadRuns_LeavesForeignFolders(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	other := filepath.Join(temporary, "other")
	young, old, locked, link := filepath.Join(temporary, runPrefix+"young"), filepath.Join(temporary, runPrefix+"old"),
		filepath.Join(temporary, runPrefix+"locked"), filepath.Join(temporary, runPrefix+"link")
	for _, folder := range []string{other, young, old, locked} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockFile(filepath.Join(locked, lockName), os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := errors.Join(
		os.WriteFile(filepath.Join(other, lockName), nil, 0o600), os.Symlink(other, link),
		os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)),
	); err != nil {
		t.Fatal(err)
	}
	removeDeadRuns()
	for folder, want := range map[string]bool{other: false, young: false, old: true, locked: false, link: false, filepath.Join(other, lockName): false} {
		if got := IsRemoved(folder); got != want {
			t.Errorf("%s is removed: %t, want %t", folder, got, want)
		}
	}
}

// TestCleanup_KillsNoForeignProcess: a process number that was written by a program of ours may be another program's now.
func TestCleanup_KillsNoForeignProcess(t *testing.T) {
	folder := filepath.Join(t.TempDir(), runPrefix+"ended")
	foreign := exec.CommandContext(t.Context(), "sleep", "60")
	if err := errors.Join(os.MkdirAll(filepath.Join(folder, processesName), 0o700), foreign.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = foreign.Process.Kill(), foreign.Wait() }()
	for name, content := range map[string]string{"reused": strconv.Itoa(foreign.Process.Pid), "empty": "", "broken": "x"} {
		if err := os.WriteFile(filepath.Join(folder, processesName, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := cleanupCommand(folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !IsRemoved(folder) || !IsRunning(foreign.Process.Pid) {
		t.Errorf("folder removed: %t, foreign process runs: %t; want both", IsRemoved(folder), IsRunning(foreign.Process.Pid))
	}
}

// TestLauncher_StartsNothingOnceTheRunHasEnded: the cleanup process has read the process numbers by then.
func TestLauncher_StartsNothingOnceTheRunHasEnded(t *testing.T) {
	r := &Run{folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(r.folder, processesName), 0o700); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(r.folder, "it's a script")
	if err := r.Script(script, "script", "/bin/echo"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, missing := os.Stat(filepath.Join(r.folder, openName))
		for name, command := range map[string]*exec.Cmd{"command": r.Command("command", "/bin/echo", "$HOME", "a b"), "script": exec.Command(script, "$HOME", "a b")} {
			out, err := command.Output()
			if want := "$HOME a b\n"; missing == nil && (err != nil || string(out) != want) {
				t.Errorf("%s: printed %q, %v; want %q", name, out, err, want)
			}
			if missing != nil && (err == nil || len(out) > 0) {
				t.Errorf("%s: started after the run ended and printed %q", name, out)
			}
		}
		if err := os.WriteFile(filepath.Join(r.folder, openName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
