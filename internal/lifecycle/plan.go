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
		return revokeAll(p)
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
	d.Status = statusOf(p, &o.Key.Status)
	d.Wake = p.next
	return d
}

// revokeAll is the plan for a key that is being deleted.
func revokeAll(p *planner) (d Decision) {
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
