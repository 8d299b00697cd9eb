// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
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

// dateJumped makes records that were issued while the operator's clock was ahead count as issued when the API server created them.
// Otherwise no revocation that is asked for now would be about them, and the overlap of earlier revisions would end as late.
// The records of the observation stay as they are.
func (p *planner) dateJumped() {
	isJumped := func(r v1alpha1.DGbotAPIKeyRecord) bool { return jumped(&r, p.now) }
	if !slices.ContainsFunc(p.Records, isJumped) {
		return
	}
	p.Records, p.jumped = slices.Clone(p.Records), map[string]bool{}
	for i := range p.Records {
		if record := &p.Records[i]; jumped(record, p.now) {
			p.jumped[record.Name] = true
			record.Spec.IssuedAt = record.CreationTimestamp
		}
	}
}
