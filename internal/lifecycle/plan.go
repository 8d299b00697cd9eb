// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// publishGrace is after how long no instance can still publish a record that is not published. Publishing gives up
	// after PublishTimeout.
	publishGrace = 30 * time.Second
	// PublishTimeout is how long after creating the record the Secret may be written. It is well under the time after
	// which another instance expires the record.
	PublishTimeout = 10 * time.Second
)

// Decision is what Plan decides.
type Decision struct {
	// Steps to carry out, in order; see IssueRevision for the one that may end the pass.
	Steps []Step
	// Status describes the observation; it is the key's new status once there are no steps. Nil for a key that is
	// being deleted: its status stays as it is.
	Status *v1alpha1.DGbotAPIKeyStatus
	// Wake is when to plan again although nothing has been seen to change; zero for never.
	Wake time.Time
}

// Plan decides what happens next.
func Plan(o Observation, now time.Time) Decision {
	p := assess(o.facts(now))
	if !o.Key.DeletionTimestamp.IsZero() {
		return p.revokeAll()
	}
	c := p.changes()
	var d Decision
	for _, a := range c.amendments {
		d.Steps = append(d.Steps, a.AmendRecord)
	}
	if c.issue != nil {
		d.Steps = append(d.Steps, *c.issue)
	}
	for _, a := range c.afterIssue {
		d.Steps = append(d.Steps, a.AmendRecord)
	}
	for _, r := range c.pruned {
		d.Steps = append(d.Steps, DeleteRecord{Name: r.Name, UID: r.UID})
	}
	if c.issue == nil && len(p.Failed) == 0 && p.Secret.State == SecretOwned && p.Secret.Drifted && p.Refusal == nil {
		d.Steps = append(d.Steps, RepairSecret{})
	}
	d.Status = p.status(&o.Key.Status)
	d.Wake = p.next
	return d
}

// revokeAll is the plan for a key that is being deleted.
func (p *planner) revokeAll() (d Decision) {
	if p.recordsRefused() {
		d.Wake = p.now.Add(lookAgain)
		return d
	}
	for _, r := range p.live {
		if r.State != v1alpha1.StateRevoked {
			d.Steps = append(d.Steps, AmendRecord{Name: r.Name, UID: r.UID, State: v1alpha1.StateRevoked})
		}
	}
	return d
}

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
