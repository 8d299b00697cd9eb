// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// AuditMark is what the audit has done to a key, as noted on its newest record.
type AuditMark struct {
	// Stage is Disabled or Revoked.
	Stage v1alpha1.AuditStage `json:"stage"`
	// Since is when it was reached.
	Since metav1.Time `json:"since"`
	// UnusedSince is since when the key was not used.
	UnusedSince metav1.Time `json:"unusedSince"`
}

// MarkOf returns what the audit has noted on a record; nil where it has not, or where that cannot be read.
func MarkOf(record *v1alpha1.DGbotAPIKeyRecord) *AuditMark {
	text, ok := record.Annotations[v1alpha1.AuditAnnotation]
	var mark AuditMark
	if !ok || json.Unmarshal([]byte(text), &mark) != nil || mark.Stage != v1alpha1.AuditDisabled && mark.Stage != v1alpha1.AuditRevoked {
		return nil
	}
	return &mark
}

// String is the mark as it stands on a record.
func (m AuditMark) String() string {
	m.Since, m.UnusedSince = instant.Whole(m.Since.Time), instant.Whole(m.UnusedSince.Time)
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // two times and a word
	}
	return string(text)
}
