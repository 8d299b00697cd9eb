// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/internal/lifecycle"
)

// A write ends in one of five ways: done; outrun (somebody else was first: observe again); refused (the API server will
// say no again: report it); the namespace is going away (nobody needs the key any more); or an error that says nothing
// about whether the write happened.

// errOutrun: somebody else has changed what the plan was made from.
var errOutrun = errors.New("another writer was first")

// outrunError is errOutrun with the answer it was told from. A webhook can refuse in the same words.
type outrunError struct{ refusal lifecycle.Refusal }

func (e *outrunError) Error() string { return errOutrun.Error() + ": " + e.refusal.Message }

// Is makes it errOutrun.
func (e *outrunError) Is(target error) bool { return target == errOutrun }

// errYield: another operator has created the record of the revision and is about to publish it.
var errYield = errors.New("another operator is issuing this revision")

// errBusy: too many keys of slow namespaces are being published already.
var errBusy = errors.New("publishing is slow in this namespace, and others are waiting for it")

// errTerminating: the namespace is being deleted.
var errTerminating = errors.New("the namespace is being deleted")

// refusedError carries a refusal to where it is reported.
type refusedError struct {
	refusal lifecycle.Refusal
	// doubtful: the write may have happened all the same.
	doubtful bool
}

func (e *refusedError) Error() string { return e.refusal.Reason + ": " + e.refusal.Message }

// refuse counts a refusal that the operator itself has found, and returns it.
func refuse(reason, format string, arguments ...any) error {
	refusals.WithLabelValues(reason).Inc()
	return &refusedError{refusal: lifecycle.Refusal{Reason: reason, Message: fmt.Sprintf(format, arguments...)}}
}

// judge tells the ways apart, and counts a write that was lost or refused. The reason is the condition's where it was
// refused.
func judge(err error, reason string) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return errTerminating
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err):
		conflicts.Inc()
		return &outrunError{lifecycle.Refusal{Reason: reason, Message: err.Error()}}
	case !errors.As(err, &status):
		return err
	}
	code := status.Status().Code
	switch {
	case code == http.StatusUnauthorized, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return err
	case code >= 400 && code < 500, code == http.StatusInternalServerError && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err):
		// 500 is how a webhook that cannot be reached refuses, and how the API server passes on that etcd did not answer
		// in time, which says nothing about the write.
		refusals.WithLabelValues(reason).Inc()
		return &refusedError{lifecycle.Refusal{Reason: reason, Message: err.Error()}, code == http.StatusInternalServerError}
	}
	return err
}

// definite says whether the error proves that this request did not write. An earlier one that it repeats may have.
func definite(err error) bool {
	var refused *refusedError
	return errors.Is(err, errOutrun) || errors.Is(err, errTerminating) || errors.As(err, &refused) && !refused.doubtful ||
		apierrors.IsTooManyRequests(err) || apierrors.IsUnauthorized(err)
}

// resultOf turns an outcome into what the work queue is told.
func resultOf(err error) (ctrl.Result, error) {
	switch {
	case err == nil:
		return ctrl.Result{}, nil
	case errors.Is(err, errYield), errors.Is(err, errOutrun):
		return ctrl.Result{RequeueAfter: aheadDelay}, nil
	case errors.Is(err, errBusy):
		// As long as a slow publication takes, and not all at the same time.
		return ctrl.Result{RequeueAfter: wait.Jitter(lifecycle.PublishTimeout/2, 2)}, nil
	case errors.Is(err, errTerminating):
		// No error and no event: the key is about to go as well. Should the namespace stay, it is looked at again.
		return ctrl.Result{RequeueAfter: time.Minute}, nil
	}
	return ctrl.Result{}, fmt.Errorf("will try again: %w", err)
}
