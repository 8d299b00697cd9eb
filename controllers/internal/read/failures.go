// SPDX-License-Identifier: Apache-2.0

package read

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// readError is an error with the name of the object that was not read, as the condition shows it.
type readError struct {
	what string
	err  error
}

func (e *readError) Error() string { return fmt.Sprintf("reading %s: %s", e.what, e.err) }

func (e *readError) Unwrap() error { return e.err }

// Wrap adds the name of the object that was not read to an error; nil stays nil.
func Wrap(err error, format string, arguments ...any) error {
	if err == nil {
		return nil
	}
	return &readError{fmt.Sprintf(format, arguments...), err}
}

// Failures collects the failed reads of one observation, and their errors.
type Failures struct {
	Reads report.FailedReads
	errs  map[report.ReadPart]error
}

// Note records the outcome of reading a part; nil removes an earlier failure of it.
func (f *Failures) Note(part report.ReadPart, err error) {
	f.Reads = f.Reads.Without(part)
	delete(f.errs, part)
	if err == nil {
		return
	}
	if f.errs == nil {
		f.errs = map[report.ReadPart]error{}
	}
	f.errs[part] = err
	failed := report.FailedRead{Of: part, What: "the " + string(part), Message: answerTo(err), Remedy: remedyFor(err)}
	var read *readError
	if errors.As(err, &read) {
		failed.What = read.what
	}
	f.Reads = append(f.Reads, failed)
}

// Err joins the errors of the failed reads.
func (f *Failures) Err() error {
	var all error
	for _, read := range f.Reads {
		all = errors.Join(all, f.errs[read.Of])
	}
	return all
}

// Transient reports whether each failed read may succeed in a moment: the API server did not answer, or asked for a retry.
func (f *Failures) Transient() bool {
	for _, err := range f.errs {
		if answered(err) {
			return false
		}
	}
	return len(f.errs) > 0
}

// answered reports whether an error is an answer of the API server that an immediate retry cannot change.
func answered(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) {
		return false
	}
	switch status.Status().Code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}

// answerTo returns the error of a read, in the same words for the same failure: it omits the local port of a lost connection, which
// changes each time.
func answerTo(err error) string {
	var status apierrors.APIStatus
	var connection *net.OpError
	switch {
	case errors.As(err, &status):
		return apikey.Redact(status.Status().Message)
	case errors.Is(err, context.DeadlineExceeded):
		return "the API server did not answer in time"
	case errors.As(err, &connection):
		return fmt.Sprintf("%s %s: %s", connection.Op, connection.Addr, connection.Err)
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return apikey.RedactEncoded(err.Error())
}

func remedyFor(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "grant the manager's service account the right that the API server names (roles: config/rbac and config/overlays)"
	case apierrors.IsInternalError(err):
		return "correct what the API server names, such as its encryption configuration or KMS"
	}
	return "check that the API server answers"
}
