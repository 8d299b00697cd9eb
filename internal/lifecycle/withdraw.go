// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// WithdrawalOf returns the most urgent withdrawal that Plan finds with every read failed beside those of the key and the records.
func WithdrawalOf(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) steps.Withdrawal {
	urgent := steps.WithdrawNothing
	for _, amend := range amendmentsOf(key, records, now) {
		switch {
		case amend.NotAfter != nil, amend.State != "" && withdrawnState(key) != v1alpha1.StateActive:
			return steps.WithdrawNow
		case amend.State == v1alpha1.StateRevoked:
			urgent = steps.WithdrawAfterAttempt
		}
	}
	return urgent
}

// WithdrawnByState returns the changes of records that a key's state or deletion asks for, whatever else is unknown: each record that is
// less strict gets the state of the key. It returns nil for a key that is Active. Everything else about these records, such as the mark of
// an audit, is left to Plan.
func WithdrawnByState(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) []steps.AmendRecord {
	state := withdrawnState(key)
	if state == v1alpha1.StateActive {
		return nil
	}
	var withdrawn []steps.AmendRecord
	for _, amend := range amendmentsOf(key, records, now) {
		if amend.State != "" {
			withdrawn = append(withdrawn, steps.AmendRecord{Name: amend.Name, UID: amend.UID, State: state})
		}
	}
	return withdrawn
}

// withdrawnState returns the state that every record of a key gets at the latest: its spec's, and Revoked for a key that is being deleted.
func withdrawnState(key *v1alpha1.DGbotAPIKey) v1alpha1.KeyState {
	if !key.DeletionTimestamp.IsZero() {
		return v1alpha1.StateRevoked
	}
	return effective.StateOf(key)
}

// amendmentsOf returns the changes of records that Plan finds with every read failed beside those of the key and the records.
func amendmentsOf(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) []steps.AmendRecord {
	unread := report.FailedReads{{Of: report.ReadSecret}, {Of: report.ReadRecords}, {Of: report.ReadEnvironment}, {Of: report.ReadChatbot}, {Of: report.ReadTracking}}
	decision := Plan(Observation{Key: key, Records: records, Secret: revisions.Secret{State: revisions.SecretUnknown}, Failed: unread}, now)
	var amendments []steps.AmendRecord
	for _, step := range decision.Steps {
		if amend, ok := step.(steps.AmendRecord); ok {
			amendments = append(amendments, amend)
		}
	}
	return amendments
}
