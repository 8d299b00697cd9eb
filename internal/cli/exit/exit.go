// SPDX-License-Identifier: Apache-2.0

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
	// CodeFailed: it could not be done, or not for all of the keys.
	CodeFailed = 1
	// CodeUsage: it was called wrongly, and nothing has been done.
	CodeUsage = 2
	// CodeNo: it was done, and the answer is no: what was given is no key, or to verify not a good one; keys were found where none
	// should be; one has the risk that was asked about; what was waited for has not come in time, or will not; the user said no.
	CodeNo = 3
)

// exitError is an error with the code to end with.
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

// Report prints an error in one line, with keys in it masked, and returns the exit code for it.
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
