// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// say shows words.
func (s *Stage) say(_ context.Context, _ *testscript.TestScript, args []string) {
	s.Screen.say(strings.Join(args, " "))
}

// now sets a variable to the current time, as date -u +%FT%TZ prints it.
func (s *Stage) now(_ context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: now VARIABLE")
	}
	ts.Setenv(args[0], time.Now().UTC().Format(time.RFC3339))
}

// keep sets a variable to what the last command printed: keep VARIABLE.
func (s *Stage) keep(_ context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: keep VARIABLE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// quietly runs kubectl, ask or identify, and shows nothing. Unlike exec, it ends with the scenario.
func (s *Stage) quietly(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: quietly COMMAND ARGUMENTS")
	}
	unseen := *s
	unseen.Screen = nil
	switch args[0] {
	case "kubectl":
		unseen.kubectl(ctx, ts, false, args[1:])
	case "ask":
		unseen.ask(ctx, ts, args[1:])
	case "identify":
		unseen.identify(ctx, ts, args[1:])
	default:
		ts.Fatalf("only kubectl, ask and identify show something, not %s", args[0])
	}
}

// kubectl shows a command and what it prints. "< file" at its end is its input.
func (s *Stage) kubectl(ctx context.Context, ts *testscript.TestScript, isNegated bool, args []string) {
	s.Screen.command("kubectl", args...)
	command := s.command(ctx, ts, args)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	err := command.Run()
	_, _ = ts.Stdout().Write(out.Bytes())
	_, _ = ts.Stderr().Write(complaints.Bytes())
	s.Screen.output(out.String() + complaints.String())
	switch {
	case err != nil && !isNegated:
		ts.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	case err == nil && isNegated:
		ts.Fatalf("kubectl %s succeeded, and must not", strings.Join(args, " "))
	}
}

// until repeats kubectl, without showing it, until what it prints matches an expression: until EXPRESSION ARGUMENTS.
func (s *Stage) until(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until EXPRESSION ARGUMENTS, of kubectl")
	}
	wanted, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	seen := ""
	matches := repeat(ctx, 500*time.Millisecond, func() bool {
		out, _ := s.command(ctx, ts, args[1:]).CombinedOutput()
		seen = string(out)
		return wanted.MatchString(seen)
	})
	if !matches {
		ts.Fatalf("not within %s: %s from kubectl %s, which printed last:\n%s", patience, args[0], strings.Join(args[1:], " "), seen)
	}
}

// command is kubectl in the folder of the script.
func (s *Stage) command(ctx context.Context, ts *testscript.TestScript, args []string) *exec.Cmd {
	input := ""
	if at := inputAt(args); at >= 0 {
		input, args = ts.ReadFile(args[at+1]), args[:at]
	}
	command := s.Cluster.Kubectl(ctx, args...)
	command.Dir = ts.MkAbs(".")
	command.Env = append(command.Env, "PATH="+ts.Getenv("PATH"), "HOME="+ts.Getenv("HOME"), "KUBECONFIG="+ts.Getenv("KUBECONFIG"), "NO_COLOR=1")
	command.Stdin = strings.NewReader(input)
	return command
}

// inputAt returns where "< file" stands, at the end of arguments; -1 if it does not.
func inputAt(args []string) int {
	if at := len(args) - 2; at >= 0 && args[at] == "<" {
		return at
	}
	return -1
}

// repeat asks until the answer is yes, or patience has passed.
func repeat(ctx context.Context, interval time.Duration, ask func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !ask() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(interval):
		}
	}
	return true
}
