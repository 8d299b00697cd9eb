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
	for _, amend := range amendmentsOf(Observation{Key: key, Records: records}, now) {
		switch {
		case amend.NotAfter != nil, amend.State != "" && AskedState(key) != v1alpha1.StateActive:
			return steps.WithdrawNow
		case amend.State == v1alpha1.StateRevoked:
			urgent = steps.WithdrawAfterAttempt
		}
	}
	return urgent
}

// WithdrawnByState returns the changes of the state of records that follow from a key that is Disabled, Revoked or being deleted, and from its
// records, whatever else is unknown. It returns nil for a key that is Active. All other changes of these records are left to Plan.
func WithdrawnByState(o Observation, now time.Time) []steps.AmendRecord {
	if AskedState(o.Key) == v1alpha1.StateActive {
		return nil
	}
	var withdrawn []steps.AmendRecord
	for _, amend := range amendmentsOf(o, now) {
		if amend.State != "" {
			withdrawn = append(withdrawn, steps.AmendRecord{Name: amend.Name, UID: amend.UID, State: amend.State, WithdrawnAt: amend.WithdrawnAt})
		}
	}
	return withdrawn
}

// AskedState returns the state that a key asks for: that of its spec, and Revoked while it is being deleted. An absent state means Active.
func AskedState(key *v1alpha1.DGbotAPIKey) v1alpha1.KeyState {
	if !key.DeletionTimestamp.IsZero() {
		return v1alpha1.StateRevoked
	}
	return effective.StateOf(key)
}

// amendmentsOf returns the changes of records that Plan finds with every read failed beside those of the key and the records.
func amendmentsOf(o Observation, now time.Time) []steps.AmendRecord {
	decision := Plan(Observation{
		Key: o.Key, Records: o.Records, IsServerTime: o.IsServerTime, IsDisputed: o.IsDisputed,
		Secret: revisions.Secret{State: revisions.SecretUnknown},
		Failed: report.FailedReads{{Of: report.ReadSecret}, {Of: report.ReadRecords}, {Of: report.ReadEnvironment}, {Of: report.ReadChatbot}, {Of: report.ReadTracking}},
	}, now)
	var amendments []steps.AmendRecord
	for _, step := range decision.Steps {
		if amend, ok := step.(steps.AmendRecord); ok {
			amendments = append(amendments, amend)
		}
	}
	return amendments
}
