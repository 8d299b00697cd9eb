// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// MaxIssuedAhead is how far ahead of a clock a revision may have been issued. A revision is at most a second ahead of the operator's
// clock, and the rest is for clocks that differ.
const MaxIssuedAhead = time.Minute

// correctJump makes a revision that was issued while the operator's clock was ahead count as issued when the API server created its
// record. Otherwise no revocation that is requested for now would cover it, and the overlap of earlier revisions would end as late.
//
// Such a revision has an issuedAt that lies more than MaxIssuedAhead after the creation of its record, and still in the future. The clock
// of now is asked as well, because an operator whose clock is ahead for good would otherwise find no revision that it issues to satisfy
// its request, and issue without end.
func (r *Revision) correctJump(h *horizon) {
	if !r.CreatedAt.IsZero() && r.IssuedAt.After(r.CreatedAt.Add(MaxIssuedAhead)) && !h.reached(r.IssuedAt.Add(-MaxIssuedAhead)) {
		r.isJumped, r.IssuedAt = true, r.CreatedAt
	}
}
