// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Explain returns the message of an error. For a deadline or an interrupt, libraries name their own parts, such as a rate limiter;
// Explain names the server and what to do instead.
func Explain(err error) string {
	var status apierrors.APIStatus
	var timeout net.Error
	var late *lateError
	var failed *keyError
	switch {
	case errors.As(err, &late), errors.As(err, &failed):
		return err.Error() // it is explained already
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &status) && (apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)):
		return "the API server did not complete the request in time: it may be overloaded; try again"
	case errors.As(err, &status):
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time from " + addressOf(err) + ": check that it can be reached, or allow more with --request-timeout"
	}
	return err.Error()
}

// addressOf returns the address of the server that did not answer.
func addressOf(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		if target, err := url.Parse(request.URL); err == nil && target.Host != "" {
			return target.Scheme + "://" + target.Host
		}
	}
	return "the API server"
}

// Late returns an error for a deadline that has passed. Explain adds nothing to its message. It ends with CodeFailed, unless it is wrapped.
func Late(format string, arguments ...any) error {
	return &lateError{fmt.Sprintf(format, arguments...)}
}

// lateError is an error with a complete message.
type lateError struct{ message string }

func (e *lateError) Error() string { return e.message }

// advice returns what to do about an error of the API server, for the errors whose message does not have it.
func advice(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return ""
	}
	said := status.Status()
	switch isOurs := said.Details != nil && said.Details.Group == v1alpha1.GroupVersion.Group; {
	case apierrors.IsForbidden(err) && isOurs && strings.Contains(said.Message, "cannot patch"):
		return " (the roles dgbot-editor, edit and admin have this right; for rotate and compromise dgbot-rotator as well)"
	case apierrors.IsForbidden(err) && isOurs && strings.Contains(said.Message, "at the cluster scope"):
		return " (the role dgbot-auditor has this right)"
	case apierrors.IsForbidden(err) && isOurs && (strings.Contains(said.Message, "cannot get") || strings.Contains(said.Message, "cannot list")):
		return " (the roles dgbot-viewer, view, edit and admin have this right; another namespace is named with -n)"
	case apierrors.IsNotFound(err) && strings.HasPrefix(said.Message, "the server could not find the requested resource"):
		return " (is the DGbot key operator installed in this cluster?)"
	}
	return ""
}

// OfKey returns an error of one key, explained, with text in front that names the key. It ends with the exit code of err.
func OfKey(text string, err error) error { return &keyError{text, err} }

// keyError is an error of one key, explained, with the key's name in front.
type keyError struct {
	which string
	err   error
}

func (e *keyError) Error() string { return e.which + Explain(e.err) }

func (e *keyError) Unwrap() error { return e.err }
