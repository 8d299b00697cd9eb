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

// Admit says whether a key whose hash is the record's is good at that time. A record without an owner reference to the
// key it names is dead: it was orphaned or restored. A revision is refused from the instant notAfter on, without
// leeway. issuedAt is not compared with the clock of whoever verifies.
func Admit(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) Verdict {
	switch {
	case !owned(record):
		return Orphaned
	case record.Spec.State == v1alpha1.StateRevoked:
		return Revoked
	case record.Spec.State == v1alpha1.StateDisabled:
		return Disabled
	case ended(record, now):
		return Ended
	}
	return Admitted
}

func ended(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) bool {
	return record.Spec.NotAfter != nil && !now.Before(record.Spec.NotAfter.Time)
}

// verifying says whether the record admits its key, or would if the key were not Disabled.
func verifying(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) bool {
	verdict := Admit(record, now)
	return verdict == Admitted || (verdict == Disabled && !ended(record, now))
}
