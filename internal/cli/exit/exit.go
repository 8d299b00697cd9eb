// SPDX-License-Identifier: Apache-2.0

// Package exit has the exit codes of the plugin, the errors that carry them, and the message that a user sees.
package exit

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"dgbot.io/key-operator/internal/cli/display"
)

// Exit codes, for scripts.
const (
	// CodeFailed means that the verb failed, for all or for some of the keys.
	CodeFailed = 1
	// CodeUsage means that the call is wrong. The verb has done nothing.
	CodeUsage = 2
	// CodeNo means that the verb was carried out and the answer is no: the input is no key, or not a valid one; scan has found keys; a key
	// has the risk of --fail-on; with --wait, the operator did not handle the request in time, or no verifier can prove it; the user did not confirm.
	CodeNo = 3
)

// exitError is an error with its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// Usage returns an error for a call that is wrong, which ends with CodeUsage.
func Usage(format string, arguments ...any) error {
	return &exitError{CodeUsage, fmt.Errorf(format, arguments...)}
}

// No returns an error for the answer no, which ends with CodeNo.
func No(format string, arguments ...any) error {
	return &exitError{CodeNo, fmt.Errorf(format, arguments...)}
}

// Report prints an error in one line, masks keys in it, and returns its exit code: 0 for nil, and CodeFailed for an error that carries none.
func Report(stderr io.Writer, err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.EPIPE):
		return CodeFailed // the reader of the output closed it, as head does
	}
	_ = display.Writef(display.NewWriter(stderr), "error: %s%s\n", Explain(err), advice(err))
	if errors.As(err, &exit) {
		return exit.code
	}
	return CodeFailed
}
