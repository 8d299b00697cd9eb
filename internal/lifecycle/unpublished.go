// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// EndUnpublished returns how to expire a record whose key could not be published. See changes.UnpublishedEnd.
func EndUnpublished(record *v1alpha1.DGbotAPIKeyRecord, key *v1alpha1.DGbotAPIKey) steps.AmendRecord {
	return steps.AmendRecord{Name: record.Name, UID: record.UID, NotAfter: changes.UnpublishedEnd(record.Spec.IssuedAt, record.Spec.NotAfter, effective.OverlapOf(&key.Spec))}
}
