// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// terminal shows commands as a user types them, runs them, and shows what they print.
type terminal struct {
	ctx     context.Context //nolint:containedctx // the tour is one conversation
	cluster *controlplane.Cluster
	checks  int
}

func (t *terminal) title(format string, args ...any) {
	fmt.Printf("\n── %s\n", fmt.Sprintf(format, args...))
}

func (t *terminal) say(format string, args ...any) {
	fmt.Printf("   %s\n", fmt.Sprintf(format, args...))
}

// kubectl runs a command line that must succeed. Words are separated by spaces; text in single quotes is one word.
func (t *terminal) kubectl(line string) (string, error) {
	out, err := t.enter(line, "")
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w", line, err)
	}
	t.checks++
	return out, nil
}

// apply pipes a manifest into kubectl apply -f -.
func (t *terminal) apply(manifest string) error {
	for _, line := range strings.Split(strings.TrimSpace(manifest), "\n") {
		fmt.Println("   |", line)
	}
	if _, err := t.enter("apply -f -", manifest); err != nil {
		return fmt.Errorf("kubectl apply: %w", err)
	}
	t.checks++
	return nil
}

// withInput runs a command line that must succeed with something secret on standard input.
func (t *terminal) withInput(line, stdin string) error {
	if _, err := t.enter(line, stdin); err != nil {
		return fmt.Errorf("kubectl %s: %w", line, err)
	}
	t.checks++
	return nil
}

// refused runs a command line that must fail with a text in its message.
func (t *terminal) refused(line, manifest, want string) error {
	out, err := t.enter(line, manifest)
	if err == nil {
		return fmt.Errorf("kubectl %s was accepted", line)
	}
	if !strings.Contains(out, want) {
		return fmt.Errorf("kubectl %s was refused without saying %q", line, want)
	}
	t.checks++
	return nil
}

func (t *terminal) enter(line, stdin string) (string, error) {
	fmt.Printf("   $ kubectl %s\n", line)
	command := t.cluster.Kubectl(t.ctx, words(line)...)
	command.Dir = controlplane.Repository()
	// Where kubectl finds its plugin.
	command.Env = append(command.Env, "PATH="+filepath.Join(controlplane.Repository(), "bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	for _, printed := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
		if printed != "" {
			fmt.Println("     " + printed)
		}
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // as exec returns it
		return "", err
	}
	return string(out), err
}

// expect counts a check and fails with what is wrong.
func (t *terminal) expect(ok bool, format string, args ...any) error {
	if !ok {
		return fmt.Errorf(format, args...)
	}
	t.checks++
	return nil
}

// eventually waits for a condition, looking often.
func (t *terminal) eventually(what string, within time.Duration, condition func() (bool, error)) error {
	deadline := time.Now().Add(within)
	for {
		ok, err := condition()
		if ok {
			t.checks++
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %s (last: %w)", within, what, err)
		}
		select {
		case <-t.ctx.Done():
			return t.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// words splits a command line at spaces; what stands in single quotes stays together, and the quotes go.
func words(line string) []string {
	var result []string
	var word strings.Builder
	quoted := false
	for _, c := range line + " " {
		switch {
		case c == '\'':
			quoted = !quoted
		case c == ' ' && !quoted:
			if word.Len() > 0 {
				result = append(result, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(c)
		}
	}
	return result
}
