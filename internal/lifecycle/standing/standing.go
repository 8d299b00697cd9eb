// SPDX-License-Identifier: Apache-2.0

// Package standing decides whether a verifier accepts the key of a record. It is all that verifiers take of the policy, and what the policy
// itself goes by.
package standing

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Verdict is the result of Admit: Admitted, or the reason why a verifier rejects the key.
type Verdict string

// The verdicts of Admit, in the order in which they are asked.
const (
	Orphaned Verdict = "Orphaned"
	Revoked  Verdict = "Revoked"
	Disabled Verdict = "Disabled"
	// UnknownState is for a state that this version does not know, the empty one included. The API server sets the state of
	// every record, so only a newer version or a changed CRD can have written it.
	UnknownState Verdict = "UnknownState"
	Ended        Verdict = "Ended"
	Admitted     Verdict = "Admitted"
)

// IsFinal reports whether the key can never be accepted again. A disabled key and one with an unknown state can.
func (v Verdict) IsFinal() bool { return v == Orphaned || v == Revoked || v == Ended }

// Standing is what of a record decides whether its key is good: all that a verifier has to keep for that.
type Standing struct {
	// Owned says that an owner reference names the key that the record names.
	Owned bool
	State v1alpha1.KeyState
	// NotAfter is zero where the record has no end.
	NotAfter time.Time
}

// Of returns the standing of a record.
func Of(record *v1alpha1.DGbotAPIKeyRecord) Standing {
	s := Standing{Owned: Owned(record), State: record.Spec.State}
	if record.Spec.NotAfter != nil {
		s.NotAfter = record.Spec.NotAfter.Time
	}
	return s
}

// Admit returns whether a verifier accepts the key with the record's hash at that time, and if not, the reason. Only the
// state Active is accepted: an unknown state is rejected. A record without an owner reference to the key it names is
// orphaned or was restored. A revision is rejected from the instant notAfter on, without leeway. issuedAt is not
// compared with the verifier's clock.
func (s Standing) Admit(now time.Time) Verdict {
	switch {
	case !s.Owned:
		return Orphaned
	case s.State == v1alpha1.StateRevoked:
		return Revoked
	case s.State == v1alpha1.StateDisabled:
		return Disabled
	case s.State != v1alpha1.StateActive:
		return UnknownState
	case s.Ended(now):
		return Ended
	}
	return Admitted
}

// Admit is that of the record's standing.
func Admit(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) Verdict {
	return Of(record).Admit(now)
}

// Ended reports whether the time bound of the record has come.
func (s Standing) Ended(now time.Time) bool { return !s.NotAfter.IsZero() && !now.Before(s.NotAfter) }

// Verifies reports whether the record makes its key verify, or would if the key were not Disabled.
func (s Standing) Verifies(now time.Time) bool {
	verdict := s.Admit(now)
	return verdict == Admitted || verdict == Disabled && !s.Ended(now)
}
