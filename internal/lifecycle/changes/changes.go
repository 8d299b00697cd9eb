// SPDX-License-Identifier: Apache-2.0

// Package changes decides what changes about the revisions that an owner has, and in what order.
package changes

import (
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Amendment is a change of a revision.
type Amendment struct {
	of *revisions.Revision
	steps.AmendRecord
}

// NewAmendment returns a change of a revision.
func NewAmendment(of *revisions.Revision, step steps.AmendRecord) Amendment {
	return Amendment{of, step}
}

// Revision returns the one that is changed, as it was.
func (a *Amendment) Revision() *revisions.Revision { return a.of }

// Apply returns revisions as the amendments make them. Those that were given do not change: conclusions may have been drawn from them. What only
// API keys have follows the key, and no policy depends on it.
func Apply(amendments []Amendment, to []*revisions.Revision) []*revisions.Revision {
	amended := slices.Clone(to)
	for _, a := range amendments {
		at := slices.Index(amended, a.of)
		if at < 0 {
			continue // it was pruned
		}
		r := *a.of
		if a.State != "" {
			r.State = a.State
		}
		if a.NotAfter != nil {
			r.NotAfter = a.NotAfter
		}
		if a.SupersededBy != 0 {
			r.SupersededBy = a.SupersededBy
		}
		amended[at] = &r
	}
	return amended
}

// Changes are what happens to the revisions that an owner has, in this order.
type Changes struct {
	Amendments []Amendment
	// AfterIssue revokes the revision in use after one attempt to publish its replacement, so that clients which follow the Secret
	// need not fail in between.
	AfterIssue []Amendment
	// Pruned are the ended revisions that are not kept.
	Pruned []*revisions.Revision
}

// amender decides what changes about the revisions of an owner.
type amender struct{ *gates.Gated }

// Of returns what happens to the revisions of an owner, given the one that is issued; nil for none.
func Of(g *gates.Gated, issue *steps.IssueRevision) Changes {
	m := &amender{g}
	var c Changes
	for _, r := range m.Owned {
		a := Amendment{of: r, AmendRecord: m.permitted(r, m.amend(r))}
		switch {
		case a.IsEmpty(), m.RecordsRejected():
		case issue != nil && r == m.Published && a.State == v1alpha1.StateRevoked:
			c.AfterIssue = append(c.AfterIssue, a)
		default:
			c.Amendments = append(c.Amendments, a)
		}
	}
	if issue == nil && len(m.Failed) == 0 {
		c.Pruned = m.prune()
	}
	return c
}
