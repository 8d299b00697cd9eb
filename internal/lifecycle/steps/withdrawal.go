// SPDX-License-Identifier: Apache-2.0

package steps

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
