// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
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
// satisfy its request, and issue without end. So the issuedAt must lie in the future of that clock as well. If it does not, and API
// servers dispute the time, the revision is doubtful: see RevocableFrom.
//
// An HMAC secret has no record, and nothing else that the API server dates.
func (r *Revision) CorrectJump(h *instant.Horizon, isServerTime, isDisputed bool) {
	if r.CreatedAt.IsZero() || !r.IssuedAt.After(r.CreatedAt.Add(MaxIssuedAhead)) {
		return
	}
	if isServerTime || !h.Reached(r.IssuedAt.Add(-MaxIssuedAhead)) {
		r.IsJumped, r.IssuedAt = true, r.CreatedAt
		return
	}
	r.isDoubtful = isDisputed
}

// RevocableFrom returns the earliest time of a revocation that covers the revision. This is IssuedAt, except for a doubtful revision: where the
// clocks of API servers differ, its key may have leaked before IssuedAt, so that a revocation from the creation of its record on covers it. At
// worst this revokes a revision too many. A revision that was issued for a revocation keeps its IssuedAt: otherwise the request would cover
// each replacement that it causes.
func (r *Revision) RevocableFrom() metav1.Time {
	if r.isDoubtful && r.Cause != v1alpha1.CauseRevocation {
		return r.CreatedAt
	}
	return r.IssuedAt
}
