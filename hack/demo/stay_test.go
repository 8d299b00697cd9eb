// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv"
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
		end   func(*testing.T, *parent)
	}{
		{"SIGKILL, after its commands were pasted", true, func(t *testing.T, p *parent) { p.signal(t, syscall.SIGKILL) }},
		{"Ctrl-C, with a closed pipe as standard output", false, func(t *testing.T, p *parent) {
			if err := p.stdout.Close(); err != nil {
				t.Fatal(err)
			}
			p.signal(t, os.Interrupt)
		}},
		{"SIGHUP of a closed terminal", false, func(t *testing.T, p *parent) { p.signal(t, syscall.SIGHUP) }},
		{"SIGKILL of make", false, func(t *testing.T, p *parent) {
			if err := p.command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startParent(t, program)
			if test.paste {
				p.pasteCommands(t)
			}
			numbers := p.processNumbers(t)
			test.end(t, p)
			_ = p.command.Wait() // its exit code is that of the signal
			for name, number := range numbers {
				testenv.Eventually(t, time.Minute, name+" has ended", func() (bool, string) { return !process.IsRunning(number), "" })
			}
			testenv.Eventually(t, time.Minute, "all temporary files are removed", func() (bool, string) {
				left, err := os.ReadDir(p.temporary)
				return err == nil && len(left) == 0, fmt.Sprintf("%v, %v", left, err)
			})
		})
	}
}

// parent is a shell in the place of make, and the demo that it started.
type parent struct {
	command   *exec.Cmd
	stdout    io.ReadCloser
	temporary string
	commands  string
	// demo is the process number of the demo.
	demo int
}

func startParent(t *testing.T, program string) *parent {
	t.Helper()
	p := &parent{temporary: filepath.Join(t.TempDir(), "a folder")}
	if err := os.Mkdir(p.temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	// Not exec: the shell waits for the demo, as make does.
	p.command = exec.Command("/bin/sh", "-c", `"$0" --stay --parent=$$ & echo "process $!"; wait`, program)
	p.command.Env = append(os.Environ(), "TMPDIR="+p.temporary)
	p.command.Stderr = os.Stderr
	var err error
	if p.stdout, err = p.command.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.command.Process.Kill(), p.command.Wait() })
	p.read(t)
	return p
}

// read reads what the demo prints until it waits, and keeps the commands: the indented lines.
func (p *parent) read(t *testing.T) {
	t.Helper()
	lines := bufio.NewScanner(p.stdout)
	for lines.Scan() {
		line := lines.Text()
		if number, ok := strings.CutPrefix(line, "process "); ok {
			p.demo, _ = strconv.Atoi(number)
		}
		if strings.HasPrefix(line, "  ") {
			p.commands += line + "\n"
		}
		if strings.HasPrefix(line, "Interrupt") {
			return
		}
	}
	t.Fatalf("the demo ended before it had started everything: %v", lines.Err())
}

func (p *parent) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	process, err := os.FindProcess(p.demo)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// pasteCommands runs what was printed, twice, in another folder.
func (p *parent) pasteCommands(t *testing.T) {
	t.Helper()
	for range 2 {
		command := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", p.commands)
		command.Dir = t.TempDir()
		out, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"valid":true`) {
			t.Fatalf("%v\n%s\n%s", err, p.commands, out)
		}
	}
}

// processNumbers returns the process numbers of all programs that were started, and of the demo.
func (p *parent) processNumbers(t *testing.T) map[string]int {
	t.Helper()
	numbers := map[string]int{"demo": p.demo}
	files, err := filepath.Glob(filepath.Join(p.temporary, "*", "processes", "*"))
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
