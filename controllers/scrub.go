// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/base64"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// withoutKeys keeps a webhook that quotes what it was shown from bringing keys into logs, events and conditions. A webhook
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
