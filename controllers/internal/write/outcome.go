// SPDX-License-Identifier: Apache-2.0

// Package write classifies the outcome of a write, counts attempts that fail in a row, keeps namespaces in which writes take long from
// occupying every worker, and keeps keys out of what the API server answers.
//
// A write ends in one of five ways:
//
//	done
//	conflict      another writer was first: observe again (ErrConflict, ErrYield)
//	rejected      the API server will reject it again: report it (RejectedError)
//	terminating   the namespace is being deleted: nothing needs the write any more (ErrTerminating)
//	unknown       any other error: the write may have happened
package write

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// YieldDelay is how long an instance waits when another one is about to publish.
const YieldDelay = 250 * time.Millisecond

// MaxObservations is how often one pass observes anew after a conflict.
const MaxObservations = 4

// ErrConflict means that another writer changed what the plan was made from.
var ErrConflict = errors.New("another writer was first")

// ConflictError is an ErrConflict with the answer of the API server. Some webhooks reject with the same code.
type ConflictError struct{ Rejection report.Rejection }

// Error names the conflict and the answer.
func (e *ConflictError) Error() string { return ErrConflict.Error() + ": " + e.Rejection.Message }

// Is reports whether the target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// ErrYield means that another instance created the record of the revision, and is about to publish it.
var ErrYield = errors.New("another operator is issuing this revision")

// ErrBusy means that the limit of concurrent publications in slow namespaces is reached.
var ErrBusy = errors.New("publishing is slow in this namespace, and others are waiting for it")

// ErrTerminating means that the namespace is being deleted.
var ErrTerminating = errors.New("the namespace is being deleted")

// Reject returns the rejection that a conflict stands for if no other writer exists: some webhooks reject with the same code. It counts
// the rejection.
func (e *ConflictError) Reject() error { return Count(&RejectedError{Rejection: e.Rejection}) }

// RejectedError is a write that the API server will reject again. The condition reports its reason and message.
type RejectedError struct {
	Rejection report.Rejection
	// doubtful is set if the write may have happened all the same.
	doubtful bool
}

// Error returns the reason and the message.
func (e *RejectedError) Error() string { return e.Rejection.Reason + ": " + e.Rejection.Message }

// Reject returns a RejectedError that the operator itself found, and counts it.
func Reject(reason, format string, arguments ...any) error {
	return Count(&RejectedError{Rejection: report.Rejection{Reason: reason, Message: fmt.Sprintf(format, arguments...)}})
}

// Classify turns the error of a write into its outcome, and counts conflicts and rejections. The reason is the one that the condition gets
// if the write was rejected.
func Classify(err error, reason string) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ErrTerminating
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err):
		return conflict(err, reason)
	case !errors.As(err, &status):
		return err
	}
	code := status.Status().Code
	switch {
	case code == http.StatusUnauthorized, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return err
	case code >= 400 && code < 500, code == http.StatusInternalServerError && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err):
		// The API server answers 500 if a webhook cannot be reached, and also if etcd did not answer in time, when the write may have
		// happened.
		return Count(&RejectedError{report.Rejection{Reason: reason, Message: err.Error()}, code == http.StatusInternalServerError})
	}
	return err
}

// conflict counts a conflict and returns it.
func conflict(answer error, reason string) error {
	Conflicts.Inc()
	return &ConflictError{report.Rejection{Reason: reason, Message: answer.Error()}}
}

// IsDefinite reports whether an error proves that this request did not write. An earlier request that it repeats may have.
func IsDefinite(err error) bool {
	var rejected *RejectedError
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrTerminating) || errors.As(err, &rejected) && !rejected.doubtful ||
		apierrors.IsTooManyRequests(err) || apierrors.IsUnauthorized(err)
}

// Result returns when the object is reconciled again after an outcome.
func Result(err error) (ctrl.Result, error) {
	switch {
	case err == nil:
		return ctrl.Result{}, nil
	case errors.Is(err, ErrYield), errors.Is(err, ErrConflict):
		return ctrl.Result{RequeueAfter: YieldDelay}, nil
	case errors.Is(err, ErrBusy):
		// The delay is as long as a slow publication takes, and random, so that not all keys retry at the same time.
		return ctrl.Result{RequeueAfter: wait.Jitter(steps.PublishTimeout/2, 2)}, nil
	case errors.Is(err, ErrTerminating):
		// No error and no event: the object is about to be deleted as well.
		return ctrl.Result{RequeueAfter: time.Minute}, nil
	}
	return ctrl.Result{}, fmt.Errorf("will try again: %w", err)
}
