// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// MaxIssuedAhead is how far ahead of a clock a revision may have been issued. A revision is at most a second ahead of the operator's
// clock, and the rest is for clocks that differ.
const MaxIssuedAhead = time.Minute

// The operator's clock follows the API server's (see internal/servertime), so that it issues no revision in the future. What follows is for
// revisions that earlier versions issued while their clock was ahead, and for API servers whose answers have no date.

// correctJump makes a revision that was issued while the operator's clock was ahead count as issued when the API server created its
// record. Otherwise no revocation that is requested for now would cover it, and the overlap of earlier revisions would end as late. Such a
// revision has an issuedAt that lies more than MaxIssuedAhead after the creation of its record. That this time has come since changes
// nothing: a request from before it is to cover the revision whenever it is read.
//
// An HMAC secret has no record, and nothing else that the API server dates.
func (r *Revision) correctJump() {
	if !r.CreatedAt.IsZero() && r.IssuedAt.After(r.CreatedAt.Add(MaxIssuedAhead)) {
		r.datedAt, r.IssuedAt = r.IssuedAt.Time, r.CreatedAt
	}
}

// isJumped reports whether the revision was issued while the operator's clock was ahead.
func (r *Revision) isJumped() bool { return !r.datedAt.IsZero() }

// awaitsClock reports whether a rotation request has to wait before it causes another revision. A clock that is ahead for good finds a request
// due that lies in the API server's future, and no revision that it issues then is late enough to satisfy the request. It issues one a
// minute until the request has come, and not one after the other. A revocation never waits: then retries back off.
func (p *planner) awaitsClock() bool {
	reference := p.reference()
	return reference != nil && reference.isJumped() && p.reached(reference.datedAt) && !p.reached(reference.datedAt.Add(MaxIssuedAhead))
}
