// SPDX-License-Identifier: Apache-2.0

package write

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
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

func TestOutcomesOfAWriteAreToldApart(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	terminating := apierrors.NewForbidden(secrets, "x", errors.New("being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, test := range map[string]struct {
		err  error
		want string
		// IsDefinite: this request is known not to have written.
		IsDefinite bool
	}{
		"nothing went wrong":              {nil, "done", false},
		"another writer wrote it first":   {apierrors.NewConflict(secrets, "x", errors.New("stale")), "conflict", true},
		"another writer created it first": {apierrors.NewAlreadyExists(secrets, "x"), "conflict", true},
		"another writer deleted it first": {apierrors.NewNotFound(secrets, "x"), "conflict", true},
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
			got := Classify(test.err, v1alpha1.SecretWriteRefusedReason)
			var rejected *RejectedError
			is := "unknown"
			switch {
			case got == nil:
				is = "done"
			case errors.Is(got, ErrConflict):
				is = "conflict"
			case errors.Is(got, ErrTerminating):
				is = "terminating"
			case errors.As(got, &rejected):
				is = "refused"
				if rejected.Rejection.Reason != v1alpha1.SecretWriteRefusedReason || rejected.Rejection.Message != test.err.Error() {
					t.Errorf("refusal %+v", rejected.Rejection)
				}
			}
			if is != test.want || IsDefinite(got) != test.IsDefinite {
				t.Errorf("judged %s (definite: %t), want %s (%t)", is, IsDefinite(got), test.want, test.IsDefinite)
			}
		})
	}
}

func TestTheWorkQueueIsToldWhatToDo(t *testing.T) {
	if result, err := Result(nil); err != nil || result.RequeueAfter != 0 {
		t.Errorf("done: %v, %v", result, err)
	}
	if result, err := Result(fmt.Errorf("issuing: %w", ErrYield)); err != nil || result.RequeueAfter != YieldDelay {
		t.Errorf("yield: %v, %v", result, err)
	}
	if result, err := Result(ErrBusy); err != nil || result.RequeueAfter < steps.PublishTimeout/2 || result.RequeueAfter > 2*steps.PublishTimeout {
		t.Errorf("busy: %v, %v", result, err)
	}
	if result, err := Result(ErrTerminating); err != nil || result.RequeueAfter == 0 {
		t.Errorf("terminating: %v, %v", result, err)
	}
	lost := errors.New("connection lost")
	if _, err := Result(lost); !errors.Is(err, lost) {
		t.Errorf("an error is not retried: %v", err)
	}
}
