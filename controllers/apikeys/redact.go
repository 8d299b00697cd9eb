// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
)

// publishedText is what the observed Secret holds in the key's place; nil where there is none.
func (o *observed) publishedText() []byte {
	if o.secret == nil {
		return nil
	}
	return o.secret.Data[lifecycle.SecretDataKey(o.Key)]
}

// withoutPluginText removes the text of an admission plugin from the rejection of a Secret that holds a key in use: there are more ways to write a
// key down than can be masked. The plugin is asked again, with a key that is then discarded and a Secret without a past. If it rejects
// that as well, its text is reported.
func (r *Reconciler) withoutPluginText(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	before, found := write.SplitAdmissionMessage(status.ErrStatus.Message)
	if !found {
		return err
	}
	answer := metav1.Status{Status: status.ErrStatus.Status, Code: status.ErrStatus.Code, Reason: status.ErrStatus.Reason}
	answer.Message = before + "(the text is omitted, because the webhook or policy has read a key: to see the text, apply a Secret of the same name with another value)"
	if clean := r.askWithoutKey(ctx, seen, record); clean != nil {
		if sameBefore, found := write.SplitAdmissionMessage(clean.ErrStatus.Message); found && sameBefore == before {
			answer.Message = clean.ErrStatus.Message
		}
	}
	return &apierrors.StatusError{ErrStatus: answer}
}

// askWithoutKey returns the rejection of a new Secret that holds nothing worth hiding; nil if it cannot be found out. Admission comes before the
// API server finds that a Secret of the name exists.
func (r *Reconciler) askWithoutKey(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) *apierrors.StatusError {
	stranger := *seen
	stranger.secret = nil
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err == nil {
		_, err = r.writeSecret(ctx, &stranger, record, []byte(probe.Reveal()), metav1.DryRunAll)
	}
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status
	}
	return nil
}
