// SPDX-License-Identifier: Apache-2.0

package process_test

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

	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
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
		cluster, err := controlplane.Start(controlplane.Options{})
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
	r, err := process.CurrentRun()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(ended)
	}()
	for {
		fmt.Println(r.Folder())
		select {
		case <-ended:
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startLoop starts a program that never ends by itself.
func startLoop(name string) (*exec.Cmd, error) {
	r, err := process.CurrentRun()
	if err != nil {
		return nil, err
	}
	command := r.Command(name, "/bin/sh", "-c", "while :; do sleep 0.2; done", r.Folder())
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
				eventually(t, program+" has ended", func() bool { return !process.IsRunning(number) })
			}
			eventually(t, "the folder is removed", func() bool { return process.IsRemoved(c.folder) })
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
		if process.IsRunning(number) {
			t.Errorf("%s of the dead run still runs", program)
		}
	}
	for program, number := range aliveNumbers {
		if !process.IsRunning(number) {
			t.Errorf("%s of the run that lives has ended", program)
		}
	}
	if !process.IsRemoved(dead.folder) || process.IsRemoved(alive.folder) || process.IsRemoved(next.folder) {
		t.Errorf("removed: %t (dead), %t (alive), %t (next); want the dead one only", process.IsRemoved(dead.folder), process.IsRemoved(alive.folder), process.IsRemoved(next.folder))
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
		files, _ := filepath.Glob(filepath.Join(c.folder, process.ProcessesName, "*"))
		for _, file := range files {
			content, _ := os.ReadFile(file)
			if number, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && process.IsRunning(number) {
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
	eventually(t, "process "+number+" has ended", func() bool { return !process.IsRunning(n) })
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
