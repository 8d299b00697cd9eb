// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runAs has the test binary act as a program that starts others and is then killed: "control plane" or "loops".
const runAs = "DGBOT_TEST_RUN_AS"

func TestMain(m *testing.M) {
	if world := os.Getenv(runAs); world != "" {
		if err := liveUntilKilled(world); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// liveUntilKilled starts programs, prints the folder of the run, and prints again and again until standard input ends.
func liveUntilKilled(world string) error {
	switch world {
	case "control plane":
		cluster, err := Start(Options{})
		if err != nil {
			return err
		}
		if err := cluster.StartControllerManager(context.Background(), nil); err != nil {
			return err
		}
	case "loops":
		for _, name := range []string{"first", "second"} {
			if _, err := startLoop(name); err != nil {
				return err
			}
		}
	}
	r, err := currentRun()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(ended)
	}()
	for {
		fmt.Println(r.folder)
		select {
		case <-ended:
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startLoop starts a program that never ends by itself.
func startLoop(name string) (*exec.Cmd, error) {
	r, err := currentRun()
	if err != nil {
		return nil, err
	}
	command := r.command(name, "/bin/sh", "-c", "while :; do sleep 0.2; done", r.folder)
	return command, command.Start()
}

func TestRun_ProgramsEndWithTheProcessThatStartedThem(t *testing.T) {
	for name, test := range map[string]struct {
		world    string
		programs int
		end      func(*child) error
	}{
		"SIGKILL of a control plane": {"control plane", 3, func(c *child) error { return c.command.Process.Kill() }},
		"SIGKILL":                    {"loops", 2, func(c *child) error { return c.command.Process.Kill() }},
		"SIGHUP":                     {"loops", 2, func(c *child) error { return c.command.Process.Signal(syscall.SIGHUP) }},
		"SIGQUIT":                    {"loops", 2, func(c *child) error { return c.command.Process.Signal(syscall.SIGQUIT) }},
		"SIGPIPE of a closed stdout": {"loops", 2, func(c *child) error { return c.stdout.Close() }},
		"exit without Stop":          {"loops", 2, func(c *child) error { return c.stdin.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			c := startChild(t, test.world)
			numbers := c.processNumbers(t, test.programs)
			if err := test.end(c); err != nil {
				t.Fatal(err)
			}
			_ = c.command.Wait() // it was killed
			for program, number := range numbers {
				eventually(t, program+" has ended", func() bool { return !IsRunning(number) })
			}
			eventually(t, "the folder is removed", func() bool { return isRemoved(c.folder) })
		})
	}
}

// TestRun_RemovesDeadRunsAtStart: the cleanup process may be killed too, such as by a restart of the machine.
func TestRun_RemovesDeadRunsAtStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead, alive := startChild(t, "loops"), startChild(t, "loops")
	numbers := dead.processNumbers(t, 2)
	aliveNumbers := alive.processNumbers(t, 2)
	cleaners, err := exec.Command("pgrep", "-f", "dgbot-cleanup "+dead.folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range strings.Fields(string(cleaners)) {
		kill(t, number)
	}
	if err := dead.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.command.Wait() // it was killed
	next := startChild(t, "loops")
	for program, number := range numbers {
		if IsRunning(number) {
			t.Errorf("%s of the dead run still runs", program)
		}
	}
	for program, number := range aliveNumbers {
		if !IsRunning(number) {
			t.Errorf("%s of the run that lives has ended", program)
		}
	}
	if !isRemoved(dead.folder) || isRemoved(alive.folder) || isRemoved(next.folder) {
		t.Errorf("removed: %t (dead), %t (alive), %t (next); want the dead one only", isRemoved(dead.folder), isRemoved(alive.folder), isRemoved(next.folder))
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
		if got := isRemoved(folder); got != want {
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
	if !isRemoved(folder) || !IsRunning(foreign.Process.Pid) {
		t.Errorf("folder removed: %t, foreign process runs: %t; want both", isRemoved(folder), IsRunning(foreign.Process.Pid))
	}
}

// TestLauncher_StartsNothingOnceTheRunHasEnded: the cleanup process has read the process numbers by then.
func TestLauncher_StartsNothingOnceTheRunHasEnded(t *testing.T) {
	r := &run{folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(r.folder, processesName), 0o700); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(r.folder, "it's a script")
	if err := r.script(script, "script", "/bin/echo"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, missing := os.Stat(filepath.Join(r.folder, openName))
		for name, command := range map[string]*exec.Cmd{"command": r.command("command", "/bin/echo", "$HOME", "a b"), "script": exec.Command(script, "$HOME", "a b")} {
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

// child is the test binary, started to be killed.
type child struct {
	command       *exec.Cmd
	stdin, stdout *os.File
	folder        string
}

func startChild(t *testing.T, world string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self), stdin: stdin, stdout: stdout}
	c.command.Env = append(os.Environ(), runAs+"="+world)
	c.command.Stdin, c.command.Stdout, c.command.Stderr = input, output, os.Stderr
	if err := errors.Join(c.command.Start(), input.Close(), output.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = stdin.Close(), stdout.Close()
		_, _ = c.command.Process.Kill(), c.command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child did not start: %v", err)
	}
	c.folder = strings.TrimSpace(line)
	return c
}

// processNumbers returns those of the programs that the child has started, by name.
func (c *child) processNumbers(t *testing.T, want int) map[string]int {
	t.Helper()
	numbers := map[string]int{}
	eventually(t, fmt.Sprintf("%d programs run", want), func() bool {
		files, _ := filepath.Glob(filepath.Join(c.folder, processesName, "*"))
		for _, file := range files {
			content, _ := os.ReadFile(file)
			if number, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && IsRunning(number) {
				numbers[filepath.Base(file)] = number
			}
		}
		return len(numbers) == want
	})
	return numbers
}

func kill(t *testing.T, number string) {
	t.Helper()
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "process "+number+" has ended", func() bool { return !IsRunning(n) })
}

func isRemoved(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}
