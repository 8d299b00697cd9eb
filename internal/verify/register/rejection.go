// SPDX-License-Identifier: Apache-2.0

package register

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// isRejection reports whether the API server understood a request and rejected it: a missing right or namespace, a quota, or a policy. Without
// help from outside, a retry is rejected as well.
func isRejection(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}

// advise adds to a rejection what makes the API server accept the registration.
func advise(err error, namespace string) error {
	return fmt.Errorf("registering this verifier: %w; check that namespace %s (--usage-namespace) exists, that the verifier's account has a Role there "+
		"with the verbs create, get and update on leases, the verb report on dgbotapikeyrecords and the verb create on selfsubjectreviews, "+
		"and that no quota rejects the Lease, or set --register=false, with which revocations are not proven for this verifier", err, namespace)
}
