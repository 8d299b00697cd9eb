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
	unread := report.FailedReads{{Of: report.ReadSecret}, {Of: report.ReadRecords}, {Of: report.ReadEnvironment}, {Of: report.ReadChatbot}, {Of: report.ReadTracking}}
	decision := Plan(Observation{Key: key, Records: records, Secret: revisions.Secret{State: revisions.SecretUnknown}, Failed: unread}, now)
	urgent := steps.WithdrawNothing
	for _, step := range decision.Steps {
		amend, ok := step.(steps.AmendRecord)
		switch {
		case !ok:
		case amend.NotAfter != nil, !key.DeletionTimestamp.IsZero(), amend.State != "" && effective.StateOf(key) != v1alpha1.StateActive:
			return steps.WithdrawNow
		case amend.State == v1alpha1.StateRevoked:
			urgent = steps.WithdrawAfterAttempt
		}
	}
	return urgent
}
