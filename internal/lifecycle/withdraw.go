// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Withdraws reports whether the key alone asks that a record verifies for less time than it does now: the key is being deleted, is
// Disabled or Revoked, or has an expiresAt before the record's notAfter. Plan does these steps at once, whatever else is known. A
// request to revoke is not among them, because Plan first tries to publish a replacement of the revision in use.
func Withdraws(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) bool {
	state := StateOf(key)
	if !key.DeletionTimestamp.IsZero() {
		state = v1alpha1.StateRevoked
	}
	for i := range records {
		record := &records[i]
		if Orphan(record) || record.Spec.State == v1alpha1.StateRevoked || ended(record, now) {
			continue
		}
		end := key.Spec.ExpiresAt
		if strictness[state] > strictness[record.Spec.State] || end != nil && (record.Spec.NotAfter == nil || end.Before(record.Spec.NotAfter)) {
			return true
		}
	}
	return false
}
