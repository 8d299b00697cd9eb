// SPDX-License-Identifier: Apache-2.0

package write

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/apikey"
)

// minRedacted is the length from which on a text is masked: anything shorter is no key, and masking it wherever it occurs would make messages
// unreadable.
const minRedacted = 16

// Redact masks keys in an error, which can end up in logs, events and conditions. A webhook sees the Secret before and after the write,
// and may quote it. So Redact masks these texts, as they are and in base64, and everything else that looks like a key or an encoding of
// one.
func Redact(err error, texts ...[]byte) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	if redact(said, texts) == said {
		return err
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return errors.New(redact(said, texts))
	}
	// Details are left out: they would have to be searched as well.
	answer := status.Status()
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: answer.Status, Code: answer.Code, Reason: answer.Reason, Message: redact(answer.Message, texts),
	}}
}

// pluginText finds where the text of an admission plugin begins, after that of the API server.
var pluginText = regexp.MustCompile(`denied (?:the )?request:? |an error on the server \(`)

// SplitAdmissionMessage returns the part of a rejection that the API server wrote, and reports whether an admission plugin could have
// written the rest.
func SplitAdmissionMessage(message string) (before string, found bool) {
	at := pluginText.FindStringIndex(message)
	if at == nil {
		return message, false
	}
	return message[:at[1]], true
}

func redact(said string, texts [][]byte) string {
	for _, text := range texts {
		if len(text) < minRedacted {
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
