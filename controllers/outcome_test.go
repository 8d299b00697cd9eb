// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

func TestOutcomesOfAWriteAreToldApart(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	terminating := apierrors.NewForbidden(secrets, "x", errors.New("being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, test := range map[string]struct {
		err  error
		want string
		// definite: this request is known not to have written.
		definite bool
	}{
		"nothing went wrong":              {nil, "done", false},
		"somebody wrote it first":         {apierrors.NewConflict(secrets, "x", errors.New("stale")), "outrun", true},
		"somebody created it first":       {apierrors.NewAlreadyExists(secrets, "x"), "outrun", true},
		"somebody deleted it first":       {apierrors.NewNotFound(secrets, "x"), "outrun", true},
		"the namespace goes":              {terminating, "terminating", true},
		"a quota":                         {apierrors.NewForbidden(secrets, "x", errors.New("exceeded quota")), "refused", true},
		"an immutable Secret":             {apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "x", nil), "refused", true},
		"a webhook that cannot be called": {apierrors.NewInternalError(errors.New("failed calling webhook")), "refused", false},
		"etcd did not answer":             {apierrors.NewInternalError(errors.New("etcdserver: request timed out")), "refused", false},
		"the API server is busy":          {apierrors.NewTooManyRequests("wait", 1), "unknown", true},
		"the API server took too long":    {apierrors.NewTimeoutError("timeout", 1), "unknown", false},
		"etcd took too long":              {apierrors.NewServerTimeout(secrets, "update", 1), "unknown", false},
		"the API server goes down":        {apierrors.NewServiceUnavailable("shutting down"), "unknown", false},
		"the token has run out":           {apierrors.NewUnauthorized("expired"), "unknown", true},
		"the connection broke":            {errors.New("EOF"), "unknown", false},
		"the time for publishing is up":   {context.DeadlineExceeded, "unknown", false},
		"a proxy answers":                 {apierrors.NewGenericServerResponse(http.StatusBadGateway, "PUT", secrets, "x", "", 0, true), "unknown", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(test.err, v1alpha1.SecretWriteRefusedReason)
			var refused *refusedError
			is := "unknown"
			switch {
			case got == nil:
				is = "done"
			case errors.Is(got, errOutrun):
				is = "outrun"
			case errors.Is(got, errTerminating):
				is = "terminating"
			case errors.As(got, &refused):
				is = "refused"
				if refused.refusal.Reason != v1alpha1.SecretWriteRefusedReason || refused.refusal.Message != test.err.Error() {
					t.Errorf("refusal %+v", refused.refusal)
				}
			}
			if is != test.want || definite(got) != test.definite {
				t.Errorf("judged %s (definite: %t), want %s (%t)", is, definite(got), test.want, test.definite)
			}
		})
	}
}

func TestTheWorkQueueIsToldWhatToDo(t *testing.T) {
	if result, err := resultOf(nil); err != nil || result.RequeueAfter != 0 {
		t.Errorf("done: %v, %v", result, err)
	}
	if result, err := resultOf(fmt.Errorf("issuing: %w", errYield)); err != nil || result.RequeueAfter != aheadDelay {
		t.Errorf("yield: %v, %v", result, err)
	}
	if result, err := resultOf(errBusy); err != nil || result.RequeueAfter < lifecycle.PublishTimeout/2 || result.RequeueAfter > 2*lifecycle.PublishTimeout {
		t.Errorf("busy: %v, %v", result, err)
	}
	if result, err := resultOf(errTerminating); err != nil || result.RequeueAfter == 0 {
		t.Errorf("terminating: %v, %v", result, err)
	}
	lost := errors.New("connection lost")
	if _, err := resultOf(lost); !errors.Is(err, lost) {
		t.Errorf("an error is not retried: %v", err)
	}
}
