// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// MaxIssuedAhead is how far ahead of a clock a revision may have been issued. A revision is at most a second ahead of the operator's
// clock, and the rest is for clocks that differ.
const MaxIssuedAhead = time.Minute

// jumped reports whether a record was issued while the operator's clock was ahead: spec.issuedAt lies more than MaxIssuedAhead after the
// time at which the API server created the record, and still in the future. The clock of now is asked as well, because an operator
// whose clock is ahead for good would otherwise find no revision that it issues to satisfy its request, and issue without end.
func jumped(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) bool {
	issued := record.Spec.IssuedAt.Time
	return !record.CreationTimestamp.IsZero() && issued.After(record.CreationTimestamp.Add(MaxIssuedAhead)) && issued.After(now.Add(MaxIssuedAhead))
}
