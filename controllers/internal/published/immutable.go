// SPDX-License-Identifier: Apache-2.0

package published

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/controllers/internal/write"
)

// IsImmutable reports whether the data of a Secret can no longer be updated, or its type is not Opaque, which cannot be changed either.
func IsImmutable(secret *corev1.Secret) bool {
	return secret != nil && (secret.Type != corev1.SecretTypeOpaque || secret.Immutable != nil && *secret.Immutable)
}

// AdviseOnImmutable adds the remedy to the rejection of a write to an immutable Secret.
func AdviseOnImmutable(err error, secret *corev1.Secret) error {
	var rejected *write.RejectedError
	if secret == nil || !errors.As(err, &rejected) {
		return err
	}
	if IsImmutable(secret) {
		rejected.Rejection.Message += fmt.Sprintf("; delete Secret %q, and it is created anew", secret.Name)
	}
	return err
}
