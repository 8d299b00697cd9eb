// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
)

const (
	// readTimeout bounds each read that a plan can do without: a KMS that does not answer must not delay a revocation.
	readTimeout = 5 * time.Second
	// urgentTimeout bounds all of these reads together while records wait to be revoked, disabled or ended. An API server that is not
	// overloaded needs a quarter of it, most of which is the consistent list of records.
	urgentTimeout = 400 * time.Millisecond
	// attemptTimeout takes its place where a replacement of the revoked revision is to be published first, which needs the Secret.
	attemptTimeout = 800 * time.Millisecond
)

// readError is an error with what was to be read, as the condition names it.
type readError struct {
	what string
	err  error
}

func (e *readError) Error() string { return fmt.Sprintf("reading %s: %s", e.what, e.err) }

func (e *readError) Unwrap() error { return e.err }

// reading adds what was to be read to an error; nil stays nil.
func reading(err error, format string, arguments ...any) error {
	if err == nil {
		return nil
	}
	return &readError{fmt.Sprintf(format, arguments...), err}
}

// bounded calls a read with a context that ends after readTimeout.
func bounded(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return read(ctx)
}

// failures collects the failed reads of one observation, and the errors that they failed with.
type failures struct {
	reads lifecycle.FailedReads
	errs  map[lifecycle.ReadPart]error
}

// note records the outcome of reading a part; nil removes an earlier failure of it.
func (f *failures) note(part lifecycle.ReadPart, err error) {
	f.reads = f.reads.Without(part)
	delete(f.errs, part)
	if err == nil {
		return
	}
	if f.errs == nil {
		f.errs = map[lifecycle.ReadPart]error{}
	}
	f.errs[part] = err
	failed := lifecycle.FailedRead{Of: part, What: "the " + string(part), Message: answerTo(err), Remedy: remedyFor(err)}
	var read *readError
	if errors.As(err, &read) {
		failed.What = read.what
	}
	f.reads = append(f.reads, failed)
}

// all joins the errors of the failed reads.
func (f *failures) all() error {
	var all error
	for _, read := range f.reads {
		all = errors.Join(all, f.errs[read.Of])
	}
	return all
}

// transient reports whether each failed read may succeed in a moment: the API server did not answer, or asked for a retry.
func (f *failures) transient() bool {
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

// answerTo returns what a read failed with, in the same words each time it fails in the same way: the local port of a lost
// connection, which changes each time, is left out.
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
		return "grant the manager's service account this right: its roles are in config/rbac and config/overlays"
	case apierrors.IsInternalError(err):
		return "correct what the API server names, such as its encryption configuration or KMS"
	}
	return "check that the API server answers"
}
