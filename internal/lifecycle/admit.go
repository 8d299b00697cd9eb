// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Verdict says whether a record admits its key, and if not, why.
type Verdict string

// The verdicts of Admit, in the order in which they are asked.
const (
	Orphaned Verdict = "Orphaned"
	Revoked  Verdict = "Revoked"
	Disabled Verdict = "Disabled"
	Ended    Verdict = "Ended"
	Admitted Verdict = "Admitted"
)

// Standing is what of a record decides whether its key is good: all that a verifier has to keep for that.
type Standing struct {
	// Owned says that an owner reference names the key that the record names.
	Owned bool
	State v1alpha1.KeyState
	// NotAfter is zero where the record has no end.
	NotAfter time.Time
}

// StandingOf returns the standing of a record.
func StandingOf(record *v1alpha1.DGbotAPIKeyRecord) Standing {
	s := Standing{Owned: owned(record), State: record.Spec.State}
	if record.Spec.NotAfter != nil {
		s.NotAfter = record.Spec.NotAfter.Time
	}
	return s
}

// Admit says whether a key whose hash is the record's is good at that time. A record without an owner reference to the
// key it names is dead: it was orphaned or restored. A revision is refused from the instant notAfter on, without
// leeway. issuedAt is not compared with the clock of whoever verifies.
func (s Standing) Admit(now time.Time) Verdict {
	switch {
	case !s.Owned:
		return Orphaned
	case s.State == v1alpha1.StateRevoked:
		return Revoked
	case s.State == v1alpha1.StateDisabled:
		return Disabled
	case !s.NotAfter.IsZero() && !now.Before(s.NotAfter):
		return Ended
	}
	return Admitted
}

// Admit is that of the record's standing.
func Admit(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) Verdict {
	return StandingOf(record).Admit(now)
}

func ended(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) bool {
	return record.Spec.NotAfter != nil && !now.Before(record.Spec.NotAfter.Time)
}

// verifying says whether the record admits its key, or would if the key were not Disabled.
func verifying(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) bool {
	verdict := Admit(record, now)
	return verdict == Admitted || (verdict == Disabled && !ended(record, now))
}
