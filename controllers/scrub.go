// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
)

// minScrubbed is the length from which on a text is looked for: anything shorter is no key, and masking it wherever it
// occurs would make messages unreadable.
const minScrubbed = 16

// publishedText is what the observed Secret holds in the key's place; nil where there is none.
func (o *observed) publishedText() []byte {
	if o.secret == nil {
		return nil
	}
	return o.secret.Data[lifecycle.SecretDataKey(o.Key)]
}

// withoutKeys keeps whoever quotes what it was shown from bringing keys into logs, events and conditions. A webhook
// is shown the Secret as it is to be and as it was, so both texts are masked, as they are and in base64, and whatever else
// looks like a key or like an encoding of one.
func withoutKeys(err error, texts ...[]byte) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	if scrub(said, texts) == said {
		return err
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return errors.New(scrub(said, texts))
	}
	// Details are left out: they would have to be searched as well.
	answer := status.Status()
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: answer.Status, Code: answer.Code, Reason: answer.Reason, Message: scrub(answer.Message, texts),
	}}
}

// told finds where what an admission plugin says of its own begins, after what the API server says of it.
var told = regexp.MustCompile(`denied (?:the )?request:? |an error on the server \(`)

// ownWords splits a refusal into what the API server says and what an admission plugin was free to say; found is false
// where none was.
func ownWords(message string) (before string, found bool) {
	at := told.FindStringIndex(message)
	if at == nil {
		return message, false
	}
	return message[:at[1]], true
}

// withoutWords keeps whatever an admission plugin says out of a refusal of a Secret that holds a key in use. There are more
// ways to write a key down than can be masked. So the plugin is asked again, with a key that is then forgotten and a Secret
// that has no past; where it says something to that, that is what is told.
func (r *APIKeyReconciler) withoutWords(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	before, found := ownWords(status.ErrStatus.Message)
	if !found {
		return err
	}
	answer := metav1.Status{Status: status.ErrStatus.Status, Code: status.ErrStatus.Code, Reason: status.ErrStatus.Reason}
	answer.Message = before + "(what it says is left out, for it was shown a key: apply a Secret of that name with another one to read it)"
	if clean := r.askWithoutKey(ctx, seen, record); clean != nil {
		if sameBefore, found := ownWords(clean.ErrStatus.Message); found && sameBefore == before {
			answer.Message = clean.ErrStatus.Message
		}
	}
	return &apierrors.StatusError{ErrStatus: answer}
}

// askWithoutKey returns what the API server refuses a new Secret with that holds nothing worth hiding; nil where that cannot be
// found out. Admission comes before it is found that there is one already.
func (r *APIKeyReconciler) askWithoutKey(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) *apierrors.StatusError {
	stranger := *seen
	stranger.secret = nil
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err == nil {
		_, err = r.writeSecret(ctx, &stranger, record, []byte(probe.Reveal()), true)
	}
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status
	}
	return nil
}

func scrub(said string, texts [][]byte) string {
	for _, text := range texts {
		if len(text) < minScrubbed {
			continue
		}
		masked := "…"
		if key, err := apikey.Parse(string(text)); err == nil {
			masked = key.Masked()
		}
		said = strings.ReplaceAll(said, string(text), masked)
		said = strings.ReplaceAll(said, base64.StdEncoding.EncodeToString(text), masked)
	}
	return apikey.RedactEncoded(said)
}
