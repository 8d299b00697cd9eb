// SPDX-License-Identifier: Apache-2.0

package steps

import (
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// NewRecord returns the record of a revision to be issued, with the key's id and hash.
func NewRecord(key *v1alpha1.DGbotAPIKey, step IssueRevision, keyID, hash string) v1alpha1.DGbotAPIKeyRecord {
	yes := true
	return v1alpha1.DGbotAPIKeyRecord{
		ObjectMeta: metav1.ObjectMeta{
			Name:      step.RecordName,
			Namespace: key.Namespace,
			Labels:    map[string]string{v1alpha1.APIKeyLabel: string(key.UID)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: key.Name, UID: key.UID,
				Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: v1alpha1.DGbotAPIKeyRecordSpec{
			APIKeyRef:   v1alpha1.APIKeyReference{Name: key.Name, UID: key.UID},
			Revision:    step.Revision,
			Cause:       step.Cause,
			KeyID:       keyID,
			Hash:        hash,
			Environment: key.Spec.Environment,
			IssuedAt:    step.IssuedAt,
			Label:       key.Spec.Label,
			ChatbotID:   step.ChatbotID,
			Scopes:      slices.Clone(step.Scopes),
			NotAfter:    step.NotAfter,
			State:       v1alpha1.StateActive,
		},
	}
}

// ApplyTo changes the record as the step says.
func (a AmendRecord) ApplyTo(record *v1alpha1.DGbotAPIKeyRecord) {
	if a.State != "" {
		record.Spec.State = a.State
	}
	if a.NotAfter != nil {
		record.Spec.NotAfter = a.NotAfter
	}
	if a.Label != "" {
		record.Spec.Label = a.Label
	}
	if a.ChatbotID != nil {
		record.Spec.ChatbotID = *a.ChatbotID
	}
	if a.Scopes != nil {
		record.Spec.Scopes = *a.Scopes
	}
	if a.SupersededBy != 0 {
		if record.Annotations == nil {
			record.Annotations = map[string]string{}
		}
		record.Annotations[v1alpha1.SupersededByAnnotation] = strconv.FormatInt(a.SupersededBy, 10)
	}
	annotate(record, v1alpha1.AuditAnnotation, a.Audit)
	annotate(record, v1alpha1.WithdrawnAtAnnotation, a.WithdrawnAt)
}

// annotate sets an annotation of a record; nil leaves it, and an empty value removes it.
func annotate(record *v1alpha1.DGbotAPIKeyRecord, name string, value *string) {
	switch {
	case value == nil:
	case *value == "":
		delete(record.Annotations, name)
	default:
		metav1.SetMetaDataAnnotation(&record.ObjectMeta, name, *value)
	}
}
