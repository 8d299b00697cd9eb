// SPDX-License-Identifier: Apache-2.0

package published

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// IsImmutable reports whether the data of a Secret can no longer be updated, or its type is not Opaque, which cannot be changed either.
func IsImmutable(secret *corev1.Secret) bool {
	return secret != nil && (secret.Type != corev1.SecretTypeOpaque || secret.Immutable != nil && *secret.Immutable)
}

// AlteredSecret returns the rejection of a write in which something changed what Dress and SetEntries gave a Secret.
func AlteredSecret(name string) *write.RejectedError {
	return write.Altered(v1alpha1.SecretWriteRefusedReason, fmt.Sprintf("Secret %q", name), "the operator's labels, annotations or entries")
}

// AlteredEntry is AlteredSecret for the entry whose text the write publishes. It names the kind of text.
func AlteredEntry(name, kind, entry string) *write.RejectedError {
	return &write.RejectedError{Rejection: report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: fmt.Sprintf(
		"Secret %[1]q does not hold %[2]s that the operator wrote: a mutating webhook or policy has changed entry %[3]q; exempt Secret %[1]q from the webhook or policy", name, kind, entry)}}
}

// AdviseOnImmutable adds the remedy to the rejection of a write to an immutable Secret.
func AdviseOnImmutable(err error, secret *corev1.Secret) error {
	var rejected *write.RejectedError
	if secret == nil || !errors.As(err, &rejected) {
		return err
	}
	if IsImmutable(secret) {
		rejected.Rejection.Message += fmt.Sprintf("; delete Secret %q, and the operator creates the Secret again", secret.Name)
	}
	return err
}
