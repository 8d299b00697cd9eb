// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
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

// TestStay_EndsWithEverythingItStarted runs the demo as `make run` does, its temporary files in a folder with a space, and
// ends it in ways that let it stop nothing itself.
func TestStay_EndsWithEverythingItStarted(t *testing.T) {
	if err := controlplane.BuildOperator(); err != nil {
		t.Fatal(err)
	}
	if err := controlplane.BuildVerifier(); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct {
		name  string
		paste bool
		end   func(*testing.T, *world)
	}{
		{"SIGKILL, after its commands were pasted", true, func(t *testing.T, w *world) { w.signal(t, syscall.SIGKILL) }},
		{"Ctrl-C, with a closed pipe as standard output", false, func(t *testing.T, w *world) {
			if err := w.stdout.Close(); err != nil {
				t.Fatal(err)
			}
			w.signal(t, os.Interrupt)
		}},
		{"SIGHUP of a closed terminal", false, func(t *testing.T, w *world) { w.signal(t, syscall.SIGHUP) }},
		{"SIGKILL of make", false, func(t *testing.T, w *world) {
			if err := w.command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := startWorld(t, program)
			if test.paste {
				w.pasteCommands(t)
			}
			numbers := w.processNumbers(t)
			test.end(t, w)
			_ = w.command.Wait() // its exit code is that of the signal
			for name, number := range numbers {
				eventually(t, name+" has ended", func() bool { return !process.IsRunning(number) })
			}
			eventually(t, "all temporary files are removed", func() bool {
				left, err := os.ReadDir(w.temporary)
				return err == nil && len(left) == 0
			})
		})
	}
}

// world is a shell in the place of make, and the demo that it started.
type world struct {
	command   *exec.Cmd
	stdout    io.ReadCloser
	temporary string
	commands  string
	// demo is the process number of the demo.
	demo int
}

func startWorld(t *testing.T, program string) *world {
	t.Helper()
	w := &world{temporary: filepath.Join(t.TempDir(), "a folder")}
	if err := os.Mkdir(w.temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	// Not exec: the shell waits for the demo, as make does.
	w.command = exec.Command("/bin/sh", "-c", `"$0" --stay --parent=$$ & echo "process $!"; wait`, program)
	w.command.Env = append(os.Environ(), "TMPDIR="+w.temporary)
	w.command.Stderr = os.Stderr
	var err error
	if w.stdout, err = w.command.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = w.command.Process.Kill(), w.command.Wait() })
	w.read(t)
	return w
}

// read reads what the demo prints until it waits, and keeps the commands: the indented lines.
func (w *world) read(t *testing.T) {
	t.Helper()
	lines := bufio.NewScanner(w.stdout)
	for lines.Scan() {
		line := lines.Text()
		if number, ok := strings.CutPrefix(line, "process "); ok {
			w.demo, _ = strconv.Atoi(number)
		}
		if strings.HasPrefix(line, "  ") {
			w.commands += line + "\n"
		}
		if strings.HasPrefix(line, "Interrupt") {
			return
		}
	}
	t.Fatalf("the demo ended before it had started everything: %v", lines.Err())
}

func (w *world) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	process, err := os.FindProcess(w.demo)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// pasteCommands runs what was printed, twice, in another folder.
func (w *world) pasteCommands(t *testing.T) {
	t.Helper()
	for range 2 {
		command := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", w.commands)
		command.Dir = t.TempDir()
		out, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"valid":true`) {
			t.Fatalf("%v\n%s\n%s", err, w.commands, out)
		}
	}
}

// processNumbers returns the process numbers of all programs that were started, and of the demo.
func (w *world) processNumbers(t *testing.T) map[string]int {
	t.Helper()
	numbers := map[string]int{"demo": w.demo}
	files, err := filepath.Glob(filepath.Join(w.temporary, "*", "processes", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(strings.TrimSpace(string(content)))
		if err != nil || !process.IsRunning(number) {
			t.Fatalf("%s: process %q does not run (%v)", file, content, err)
		}
		numbers[filepath.Base(file)] = number
	}
	if want := 6; len(numbers) != want {
		t.Fatalf("%d processes run, want %d: demo, etcd, kube-apiserver, kube-controller-manager, manager, verifier: %v", len(numbers), want, numbers)
	}
	return numbers
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}
