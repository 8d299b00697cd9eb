// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"dgbot.io/key-operator/internal/apikey"
)

// Exit codes, for scripts.
const (
	// ExitFailed: it could not be done, or not for all of the keys.
	ExitFailed = 1
	// ExitUsage: it was called wrongly, and nothing has been done.
	ExitUsage = 2
	// ExitNo: it was done, and the answer is no: what was given is no key, or what was waited for has not come in time.
	ExitNo = 3
)

// exitError is an error with the code to end with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, arguments ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, arguments...)}
}

func no(format string, arguments ...any) error {
	return &exitError{ExitNo, fmt.Errorf(format, arguments...)}
}

// Exit says what to end with after an error, and tells people about it in one line, without a key that somebody has pasted.
func Exit(stderr io.Writer, err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.EPIPE):
		return ExitFailed // whoever read has had enough
	}
	_, _ = fmt.Fprintln(stderr, "error:", apikey.Redact(err.Error()))
	if errors.As(err, &exit) {
		return exit.code
	}
	return ExitFailed
}
