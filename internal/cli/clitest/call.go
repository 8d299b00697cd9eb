// SPDX-License-Identifier: Apache-2.0

// Package clitest has the fixtures of the plugin's tests. It imports no verb, so the tests of each verb can use it.
package clitest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"dgbot.io/key-operator/internal/cli/exit"
)

// Call runs a command, and returns what it writes and its exit code.
func Call(t *testing.T, newCommand func(genericiooptions.IOStreams) *cobra.Command, stdin string, args ...string) (out, said string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := newCommand(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr})
	command.SetArgs(args)
	code = exit.Report(&stderr, command.ExecuteContext(t.Context()))
	return stdout.String(), stderr.String(), code
}

// innards are what libraries say of their own parts.
var innards = []string{"rate limiter", "context deadline", "context canceled", "Client.Timeout", "i/o timeout"}

// NoInnards asserts that a message names what failed, and no part of a library.
func NoInnards(t *testing.T, what, said string, want ...string) {
	t.Helper()
	for _, never := range innards {
		if strings.Contains(said, never) {
			t.Errorf("%s: %q in %s", what, never, said)
		}
	}
	for _, one := range want {
		if !strings.Contains(said, one) {
			t.Errorf("%s: no %q in %s", what, one, said)
		}
	}
}
