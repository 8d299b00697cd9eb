// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"time"

	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// MaxIssuedAhead is how far ahead of a clock a revision may have been issued. A revision is at most a second ahead of the operator's
// clock, and the rest is for clocks that differ.
const MaxIssuedAhead = time.Minute

// CorrectJump makes a revision that was issued while the operator's clock was ahead count as issued when the API server created its
// record. Otherwise no revocation that is requested for now would cover it, and the overlap of earlier revisions would end as late. Such a
// revision has an issuedAt that lies more than MaxIssuedAhead after the creation of its record.
//
// If the time is the API server's, that is enough: no revision is issued in its future any more, and a request from before the issuedAt
// covers the revision whenever it is read. Otherwise the operator's clock may be ahead for good. It would find no revision that it issues to
// satisfy its request, and issue without end. So the issuedAt must lie in the future of that clock as well.
//
// An HMAC secret has no record, and nothing else that the API server dates.
func (r *Revision) CorrectJump(h *instant.Horizon, isServerTime bool) {
	if !r.CreatedAt.IsZero() && r.IssuedAt.After(r.CreatedAt.Add(MaxIssuedAhead)) && (isServerTime || !h.Reached(r.IssuedAt.Add(-MaxIssuedAhead))) {
		r.IsJumped, r.IssuedAt = true, r.CreatedAt
	}
}
