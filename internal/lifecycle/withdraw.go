// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Withdrawal describes what a key and its records alone, whatever else is unknown, ask to be taken away.
type Withdrawal int

// Withdrawals, the more urgent the higher.
const (
	// WithdrawNothing: every record may verify as it does.
	WithdrawNothing Withdrawal = iota
	// WithdrawAfterAttempt: a request revokes a revision. Plan first tries to publish a replacement of the one in use.
	WithdrawAfterAttempt
	// WithdrawNow: the key is being deleted, is Disabled or Revoked, or expires earlier. No replacement is wanted.
	WithdrawNow
)

// WithdrawalOf returns the most urgent withdrawal that Plan finds with every read failed beside those of the key and the records.
func WithdrawalOf(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, now time.Time) Withdrawal {
	unread := FailedReads{{Of: ReadSecret}, {Of: ReadRecords}, {Of: ReadEnvironment}, {Of: ReadChatbot}, {Of: ReadTracking}}
	decision := Plan(Observation{Key: key, Records: records, Secret: Secret{State: SecretUnknown}, Failed: unread}, now)
	urgent := WithdrawNothing
	for _, step := range decision.Steps {
		amend, ok := step.(AmendRecord)
		switch {
		case !ok:
		case amend.NotAfter != nil, !key.DeletionTimestamp.IsZero(), amend.State != "" && StateOf(key) != v1alpha1.StateActive:
			return WithdrawNow
		case amend.State == v1alpha1.StateRevoked:
			urgent = WithdrawAfterAttempt
		}
	}
	return urgent
}

// HMACWithdrawalOf returns the withdrawal that the ledger of a chatbot asks for, whatever else is unknown.
func HMACWithdrawalOf(chatbot *v1alpha1.DGbotChatbot, now time.Time) Withdrawal {
	switch {
	case LedgerOf(&chatbot.Status).Empty():
		return WithdrawNothing
	case chatbot.Spec.IdentityVerification == nil, !chatbot.DeletionTimestamp.IsZero():
		return WithdrawNow
	}
	unread := FailedReads{{Of: ReadClaim}, {Of: ReadSecret}, {Of: ReadCopy}}
	o := ChatbotObservation{Chatbot: chatbot, Claim: ClaimUnknown, HMAC: HMACObservation{Copy: HMACCopy{Unknown: true}}, Failed: unread}
	if o.planWithdrawal(now).step == "" {
		return WithdrawNothing
	}
	return WithdrawAfterAttempt
}
