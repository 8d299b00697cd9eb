// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Decision is what Plan decides.
type Decision struct {
	// Steps to carry out, in order; see steps.IssueRevision for the one that may end the pass.
	Steps []steps.Step
	// Status describes the observation; it is the key's new status once there are no steps. Nil for a key that is
	// being deleted: its status stays as it is.
	Status *v1alpha1.DGbotAPIKeyStatus
	// Awaited is what verifiers must reach for the last withdrawal to be confirmed; nil if none waits.
	Awaited *propagation.Awaited
	// Wake is when to plan again although nothing has been seen to change; zero for never.
	Wake time.Time
}

// Plan decides what happens next.
func Plan(o Observation, now time.Time) Decision {
	p := gates.Assess(o.facts(now))
	if !o.Key.DeletionTimestamp.IsZero() {
		return revokeAll(p)
	}
	issue := p.Issue()
	c := changes.Of(p, issue)
	markWithdrawals(p, o.Key.Status.Propagation, &c)
	var d Decision
	for _, a := range c.Amendments {
		d.Steps = append(d.Steps, a.AmendRecord)
	}
	if issue != nil {
		d.Steps = append(d.Steps, *issue)
	}
	for _, a := range c.AfterIssue {
		d.Steps = append(d.Steps, a.AmendRecord)
	}
	noted := lastNote(p, o.Key.Status.Propagation)
	for _, r := range c.Pruned {
		if r == noted {
			continue
		}
		d.Steps = append(d.Steps, steps.DeleteRecord{Name: r.Name, UID: r.UID})
	}
	if issue == nil && len(p.Failed) == 0 && p.Secret.State == revisions.SecretOwned && p.Secret.Drifted && p.Rejection == nil {
		d.Steps = append(d.Steps, steps.RepairSecret{})
	}
	followed := propagationOf(p, &o)
	d.Status = statusOf(p, &o.Key.Status, followed, &o.Verifiers)
	d.Awaited = propagation.AwaitedBy(followed, p.Owned)
	d.Wake = p.Next
	return d
}

// revokeAll is the plan for a key that is being deleted.
func revokeAll(p *gates.Gated) (d Decision) {
	if p.RecordsRejected() {
		d.Wake = p.Now.Add(report.CheckInterval)
		return d
	}
	for _, r := range p.Owned {
		if r.State != v1alpha1.StateRevoked {
			d.Steps = append(d.Steps, steps.AmendRecord{Name: r.Name, UID: r.UID, State: v1alpha1.StateRevoked})
		}
	}
	return d
}
