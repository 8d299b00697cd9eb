// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Case is what gates are asked about: why a revision is due, and what the audit makes of the key.
type Case struct {
	*Due
	Audit Audit
}

// Gated is what is decided about the next revision, and about whether the owner is Ready.
type Gated struct {
	Case
	// Obstacle is what keeps the revision from being issued, or the owner from being Ready; nil if nothing does.
	Obstacle *report.Obstacle
}

// Assess draws the conclusions from facts. Each stage is made from those before it, and is finished then.
func Assess(f Facts) *Gated {
	known := Derive(f)
	c := Case{Due: dueOf(known), Audit: auditOf(known)}
	return c.behind(c.findObstacle())
}

// Behind returns the same conclusions with another obstacle.
func (p *Gated) Behind(o *report.Obstacle) *Gated { return p.behind(o) }

// behind returns a case with its obstacle; nil for none. It is planned again when the obstacle may be gone.
func (p *Case) behind(o *report.Obstacle) *Gated {
	if o != nil {
		p.WakeBy(o.Until)
	}
	return &Gated{Case: *p, Obstacle: o}
}

// Issue returns the revision to issue now; nil if none is due or a gate is closed.
func (p *Gated) Issue() *steps.IssueRevision {
	if p.Cause == "" || p.Obstacle != nil {
		return nil
	}
	revision := p.Highest + 1
	chatbotID, _ := p.ChatbotID() // without an ID that is known, chatbotGate is closed
	step := &steps.IssueRevision{
		Revision:   revision,
		RecordName: revisions.RecordName(p.Name, p.UID, revision),
		Cause:      p.Cause,
		IssuedAt:   p.IssuedAt(),
		NotAfter:   p.EndOf(p.IssuedAt()),
		ChatbotID:  chatbotID,
		Scopes:     p.Scopes(),
	}
	if revisions.IsLoss(p.Loss) {
		step.Loss = p.Loss
	}
	return step
}

// gates are what may keep an owner from being Ready or a revision from being issued. The first that is closed is reported. A gate
// returns nil while it is open.
var gates = []func(*Case) *report.Obstacle{
	// Even before spec.state: a key whose records cannot be revoked is not revoked.
	(*Case).rejectedRecordGate,
	// Before spec.state as well: the records follow spec.state, but whether the rest of the status is right is unknown.
	(*Case).failedReadGate,
	// Before spec.state, because the audit says more: why, and how to keep the key.
	(*Case).auditGate,
	(*Case).stateGate,
	(*Case).rejectedWriteGate,
	(*Case).environmentGate,
	(*Case).chatbotGate,
}

// issueGates are asked only when a revision is due.
var issueGates = []func(*Case) *report.Obstacle{
	(*Case).secretGate,
	// Attempts that failed come before damping and overlap: their condition keeps the API server's answer.
	(*Case).attemptsGate,
	(*Case).dampingGate,
	(*Case).overlapGate,
}

func (p *Case) findObstacle() *report.Obstacle {
	asked := gates
	if p.Cause != "" {
		asked = slices.Concat(gates, issueGates)
	}
	for _, gate := range asked {
		if o := gate(p); o != nil {
			return o
		}
	}
	return nil
}

func (p *Case) rejectedRecordGate() *report.Obstacle {
	if !p.RecordsRejected() {
		return nil
	}
	return p.rejectedObstacle()
}

func (p *Case) rejectedWriteGate() *report.Obstacle {
	if p.Rejection == nil {
		return nil
	}
	return p.rejectedObstacle()
}

func (p *Case) failedReadGate() *report.Obstacle {
	if len(p.Failed) == 0 {
		return nil
	}
	return p.Failed.Obstacle("The operator still applies revocation, disabling and expiry. It issues, publishes and repairs nothing until the read succeeds, and retries with back-off",
		p.Was.Conditions, p.Now)
}

// secretGate is closed while another object has the name of the Secret.
func (p *Case) secretGate() *report.Obstacle {
	switch p.Secret.State {
	case revisions.SecretForeign:
		return &report.Obstacle{Reason: v1alpha1.SecretConflictReason, Stalled: true, Until: p.Now.Add(report.LookAgain), Message: fmt.Sprintf(
			"Secret %q exists and does not belong to this %[2]s: it is left alone; delete or rename it, or create the %[2]s with another %[3]s", p.SecretName, p.Noun, p.SecretField)}
	case revisions.SecretCollectable:
		return p.collectionObstacle(p.SecretName)
	}
	return nil
}

// collectionGrace is for how long a Secret with another owner may count as one that garbage collection is about to delete.
const collectionGrace = time.Minute

// collectionObstacle waits for garbage collection to delete a Secret that is left over. Where the Secret has another owner, which the
// operator may not read, time tells whether that one is gone too: garbage collection takes seconds.
func (p *Case) collectionObstacle(name string) *report.Obstacle {
	conditions, owner := p.Was.Conditions, p.Noun
	ready, waiting := apimeta.FindStatusCondition(conditions, v1alpha1.ReadyCondition), apimeta.FindStatusCondition(conditions, v1alpha1.ReconcilingCondition)
	kept := ready != nil && ready.Reason == v1alpha1.SecretConflictReason ||
		waiting != nil && waiting.Reason == v1alpha1.WaitingForGarbageCollectionReason && p.Reached(waiting.LastTransitionTime.Add(collectionGrace))
	if p.Secret.OtherOwner && kept {
		return &report.Obstacle{Reason: v1alpha1.SecretConflictReason, Stalled: true, Until: p.Now.Add(report.LookAgain), Message: fmt.Sprintf(
			"Secret %q is left over from a deleted %[2]s, and an owner reference to another object keeps garbage collection from deleting it: it is left alone; "+
				"delete or rename it, or create the %[2]s with another %[3]s", name, owner, p.SecretField)}
	}
	return &report.Obstacle{Reason: v1alpha1.WaitingForGarbageCollectionReason, Until: p.Now.Add(report.LookAgain), Message: fmt.Sprintf(
		"Secret %q is left over from a deleted %s and waits for garbage collection", name, owner)}
}

// dampingGate is closed while too many losses within the hour were healed.
func (p *Case) dampingGate() *report.Obstacle {
	if !revisions.IsLoss(p.Cause) {
		return nil
	}
	until := revisions.DampedUntil(p.Owned, &p.Horizon)
	if p.Reached(until) {
		return nil
	}
	return &report.Obstacle{Reason: v1alpha1.SecretLossDampedReason, Until: until, Message: fmt.Sprintf(
		"Secret %q was replaced %d times or more within an hour because it was lost or altered; the next replacement is issued at %s: find out who deletes or overwrites it",
		p.SecretName, revisions.DampingFree, until.UTC().Format(time.RFC3339))}
}

// overlapGate is closed for a rotation that can wait while as many earlier revisions verify as may.
func (p *Case) overlapGate() *report.Obstacle {
	if p.Published == nil || p.Cause != v1alpha1.CauseSchedule && p.Cause != v1alpha1.CauseRequest {
		return nil
	}
	// Revisions above the published one are attempts: they expire, and no client holds their keys.
	earlierOnes := slices.DeleteFunc(p.Others(&p.Horizon), func(r *revisions.Revision) bool { return r.Number > p.Published.Number })
	if len(earlierOnes) < p.MaxPrevious {
		return nil
	}
	var until time.Time
	for _, record := range earlierOnes {
		if end := record.NotAfter; end != nil && (until.IsZero() || end.Time.Before(until)) {
			until = end.Time
		}
	}
	verify := fmt.Sprintf("%d earlier revisions still verify; it happens when the first of them ends", len(earlierOnes))
	if len(earlierOnes) == 1 {
		verify = "the earlier one still verifies; it happens when that ends"
	}
	return &report.Obstacle{Reason: v1alpha1.WaitingForOverlapReason, Harmless: true, Until: until, Message: fmt.Sprintf(
		"A rotation is due, but %s. A shorter %s.%s ends it sooner", verify, p.RotationField, p.longestOverlap())}
}

// longestOverlap is the field that says how long earlier revisions verify at most.
func (p *Case) longestOverlap() string {
	if p.Wants.WhenUnused() {
		return "maxOverlap"
	}
	return "overlap"
}

func (p *Case) rejectedObstacle() *report.Obstacle {
	return &report.Obstacle{Reason: p.Rejection.Reason, Message: p.Rejection.Message + p.stillVerifies(), Stalled: true, Until: p.Now.Add(report.RetryDelay(p.Was.Conditions, p.Rejection.Reason, p.Now))}
}

func (p *Case) stillVerifies() string {
	if p.Published == nil || !p.Published.IsAdmitted(&p.Horizon) {
		return ""
	}
	return fmt.Sprintf(" (revision %d in the Secret still verifies)", p.Published.Number)
}
