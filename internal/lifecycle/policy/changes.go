// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Amendment is a change of a revision.
type Amendment struct {
	of *revisions.Revision
	steps.AmendRecord
}

// Apply changes the revision. What only API keys have follows the key, and no policy depends on it.
func (a *Amendment) Apply() {
	if a.State != "" {
		a.of.State = a.State
	}
	if a.NotAfter != nil {
		a.of.NotAfter = a.NotAfter
	}
	if a.SupersededBy != 0 {
		a.of.SupersededBy = a.SupersededBy
	}
}

// Changes are what happens to the revisions of an owner, in this order.
type Changes struct {
	Amendments []Amendment
	// Issue is nil where no revision is issued.
	Issue *steps.IssueRevision
	// AfterIssue revokes the revision in use after one attempt to publish its replacement, so that clients which follow the Secret
	// need not fail in between.
	AfterIssue []Amendment
	// Pruned are the ended revisions that are not kept.
	Pruned []*revisions.Revision
}

// Changes returns what happens to the revisions.
func (p *Planner) Changes() Changes {
	c := Changes{Issue: p.issue()}
	for _, r := range p.Owned {
		a := Amendment{of: r, AmendRecord: p.permitted(r, p.amend(r))}
		switch {
		case a.IsEmpty(), p.RecordsRejected():
		case c.Issue != nil && r == p.Published && a.State == v1alpha1.StateRevoked:
			c.AfterIssue = append(c.AfterIssue, a)
		default:
			c.Amendments = append(c.Amendments, a)
		}
	}
	if c.Issue == nil && len(p.Failed) == 0 {
		c.Pruned = p.prune()
	}
	return c
}

// issue returns the revision to issue now; nil if none is due or a gate is closed.
func (p *Planner) issue() *steps.IssueRevision {
	if p.Cause == "" || p.Obstacle != nil {
		return nil
	}
	revision := p.Highest + 1
	chatbotID, _ := p.chatbotID() // without an ID that is known, chatbotGate is closed
	step := &steps.IssueRevision{
		Revision:   revision,
		RecordName: revisions.RecordName(p.Name, p.UID, revision),
		Cause:      p.Cause,
		IssuedAt:   p.issuedAt(),
		NotAfter:   p.endOf(p.issuedAt()),
		ChatbotID:  chatbotID,
		Scopes:     p.scopes(),
	}
	if revisions.IsLoss(p.loss) {
		step.Loss = p.loss
	}
	return step
}
