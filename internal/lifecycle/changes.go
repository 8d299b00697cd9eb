// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "dgbot.io/key-operator/api/v1alpha1"

// amendment is a change of a revision.
type amendment struct {
	of *Revision
	AmendRecord
}

// apply changes the revision. What only API keys have follows the key, and no policy depends on it.
func (a *amendment) apply() {
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

// changes are what happens to the revisions of an owner, in this order.
type changes struct {
	amendments []amendment
	// issue is nil where no revision is issued.
	issue *IssueRevision
	// afterIssue revokes the revision in use after one attempt to publish its replacement, so that clients which follow the Secret
	// need not fail in between.
	afterIssue []amendment
	// pruned are the ended revisions that are not kept.
	pruned []*Revision
}

func (p *planner) changes() changes {
	c := changes{issue: p.issue()}
	for _, r := range p.live {
		a := amendment{of: r, AmendRecord: p.permitted(r, p.amend(r))}
		switch {
		case a.empty(), p.recordsRefused():
		case c.issue != nil && r == p.published && a.State == v1alpha1.StateRevoked:
			c.afterIssue = append(c.afterIssue, a)
		default:
			c.amendments = append(c.amendments, a)
		}
	}
	if c.issue == nil && len(p.Failed) == 0 {
		c.pruned = p.prune()
	}
	return c
}

// issue returns the revision to issue now; nil if none is due or a gate is closed.
func (p *planner) issue() *IssueRevision {
	if p.cause == "" || p.obstacle != nil {
		return nil
	}
	revision := p.highest + 1
	chatbotID, _ := p.chatbotID() // without an ID that is known, chatbotGate is closed
	step := &IssueRevision{
		Revision:   revision,
		RecordName: RecordName(p.name, p.uid, revision),
		Cause:      p.cause,
		IssuedAt:   p.issuedAt(),
		NotAfter:   p.endOf(p.issuedAt()),
		ChatbotID:  chatbotID,
		Scopes:     p.scopes(),
	}
	if isLoss(p.loss) {
		step.Loss = p.loss
	}
	return step
}
