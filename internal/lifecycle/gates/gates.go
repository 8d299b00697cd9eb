// SPDX-License-Identifier: Apache-2.0

// Package gates decides what keeps a revision from being issued, or its owner from being Ready. With that, the next revision is decided: Assess
// has the stages up to here in their order.
package gates

import (
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/audit"
	"dgbot.io/key-operator/internal/lifecycle/due"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// Case is what gates are asked about: why a revision is due, and what the audit makes of the key.
type Case struct {
	*due.Due
	Audit audit.Audit
}

// Gated is what is decided about the next revision, and about whether the owner is Ready.
type Gated struct {
	Case
	// Obstacle is what keeps the revision from being issued, or the owner from being Ready; nil if nothing does.
	Obstacle *report.Obstacle
}

// Assess draws the conclusions from facts. Each stage is made from those before it, and is finished then.
func Assess(f facts.Facts) *Gated {
	known := facts.Derive(f)
	c := Case{Due: due.Of(known), Audit: audit.Of(known)}
	return c.Behind(c.findObstacle())
}

// Behind returns the case with what is in its way; nil for nothing. The owner is planned again when that may have changed.
func (c *Case) Behind(o *report.Obstacle) *Gated {
	if o != nil {
		c.WakeBy(o.Until)
	}
	return &Gated{Case: *c, Obstacle: o}
}

// Issue returns the revision to issue now; nil if none is due or a gate is closed.
func (g *Gated) Issue() *steps.IssueRevision {
	if g.Cause == "" || g.Obstacle != nil {
		return nil
	}
	revision := g.Highest + 1
	chatbotID, _ := g.ChatbotID() // without an ID that is known, chatbotGate is closed
	step := &steps.IssueRevision{
		Revision:   revision,
		RecordName: revisions.RecordName(g.Name, g.UID, revision),
		Cause:      g.Cause,
		IssuedAt:   g.IssuedAt(),
		NotAfter:   g.EndOf(g.IssuedAt()),
		ChatbotID:  chatbotID,
		Scopes:     g.Scopes(),
	}
	if revisions.IsLoss(g.Loss) {
		step.Loss = g.Loss
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

func (c *Case) findObstacle() *report.Obstacle {
	asked := gates
	if c.Cause != "" {
		asked = slices.Concat(gates, issueGates)
	}
	for _, gate := range asked {
		if o := gate(c); o != nil {
			return o
		}
	}
	return nil
}

func (c *Case) rejectedRecordGate() *report.Obstacle {
	if !c.RecordsRejected() {
		return nil
	}
	return c.rejectedObstacle()
}

func (c *Case) rejectedWriteGate() *report.Obstacle {
	if c.Rejection == nil {
		return nil
	}
	return c.rejectedObstacle()
}

func (c *Case) failedReadGate() *report.Obstacle {
	if len(c.Failed) == 0 {
		return nil
	}
	return c.Failed.Obstacle("The operator still applies revocation, disabling and expiry. The operator issues, publishes and repairs nothing until the read succeeds, and retries with back-off",
		c.Was.Conditions, c.Now)
}

// secretGate is closed while another object has the name of the Secret.
func (c *Case) secretGate() *report.Obstacle {
	switch c.Secret.State {
	case revisions.SecretForeign:
		return &report.Obstacle{Reason: v1alpha1.SecretConflictReason, Stalled: true, Until: c.Now.Add(report.CheckInterval), Message: fmt.Sprintf(
			"Secret %q already exists and is not owned by this %s: the operator does not change it; %s", c.SecretName, c.Noun, c.freeSecretName())}
	case revisions.SecretCollectable:
		return c.collectionObstacle(c.SecretName)
	}
	return nil
}

// collectionGrace is for how long a Secret with another owner may count as one that garbage collection is about to delete.
const collectionGrace = time.Minute

// collectionObstacle waits for garbage collection to delete the Secret of a deleted owner. Where the Secret has another owner, which the
// operator may not read, time tells whether that one is gone too: garbage collection takes seconds.
func (c *Case) collectionObstacle(name string) *report.Obstacle {
	conditions, owner := c.Was.Conditions, c.Noun
	ready, waiting := apimeta.FindStatusCondition(conditions, v1alpha1.ReadyCondition), apimeta.FindStatusCondition(conditions, v1alpha1.ReconcilingCondition)
	kept := ready != nil && ready.Reason == v1alpha1.SecretConflictReason ||
		waiting != nil && waiting.Reason == v1alpha1.WaitingForGarbageCollectionReason && c.Reached(waiting.LastTransitionTime.Add(collectionGrace))
	if c.Secret.OtherOwner && kept {
		return &report.Obstacle{Reason: v1alpha1.SecretConflictReason, Stalled: true, Until: c.Now.Add(report.CheckInterval), Message: fmt.Sprintf(
			"Secret %q belongs to a deleted %s, and an owner reference to another object keeps garbage collection from deleting the Secret: the operator does not change it; %s",
			name, owner, c.freeSecretName())}
	}
	return &report.Obstacle{Reason: v1alpha1.WaitingForGarbageCollectionReason, Until: c.Now.Add(report.CheckInterval), Message: fmt.Sprintf(
		"Secret %q belongs to a deleted %s: the operator waits until garbage collection deletes the Secret", name, owner)}
}

// freeSecretName is what a user can do about an object that has the name of the Secret, which is immutable.
func (c *Case) freeSecretName() string {
	return fmt.Sprintf("delete the Secret, or delete this %[1]s and create it again with an unused name in %[2]s", c.Noun, c.SecretField)
}

// dampingGate is closed while too many losses within the hour were healed.
func (c *Case) dampingGate() *report.Obstacle {
	if !revisions.IsLoss(c.Cause) {
		return nil
	}
	until := revisions.DampedUntil(c.Owned, &c.Horizon)
	if c.Reached(until) {
		return nil
	}
	return &report.Obstacle{Reason: v1alpha1.SecretLossDampedReason, Until: until, Message: fmt.Sprintf(
		"Secret %q was lost or tampered with at least %d times within an hour: the operator issues the next revision at %s; find out which client deletes or overwrites the Secret",
		c.SecretName, revisions.DampingFree, until.UTC().Format(time.RFC3339))}
}

// overlapGate is closed for a rotation that can wait while as many earlier revisions verify as may.
func (c *Case) overlapGate() *report.Obstacle {
	if c.Published == nil || c.Cause != v1alpha1.CauseSchedule && c.Cause != v1alpha1.CauseRequest {
		return nil
	}
	// Revisions above the published one are attempts: they expire, and no client holds their keys.
	earlierOnes := slices.DeleteFunc(c.Others(&c.Horizon), func(r *revisions.Revision) bool { return r.Number > c.Published.Number })
	if len(earlierOnes) < c.MaxPrevious {
		return nil
	}
	var until time.Time
	for _, record := range earlierOnes {
		if end := record.NotAfter; end != nil && (until.IsZero() || end.Time.Before(until)) {
			until = end.Time
		}
	}
	waits := fmt.Sprintf("%d previous revisions are still valid: the operator rotates when the first of these revisions expires", len(earlierOnes))
	if len(earlierOnes) == 1 {
		waits = fmt.Sprintf("previous revision %d is still valid: the operator rotates when the previous revision expires", earlierOnes[0].Number)
	}
	if !until.IsZero() {
		waits += ", at " + until.UTC().Format(time.RFC3339)
	}
	return &report.Obstacle{Reason: v1alpha1.WaitingForOverlapReason, Harmless: true, Until: until, Message: fmt.Sprintf(
		"A rotation is due, and %s; to rotate sooner, shorten %s.%s", waits, c.RotationField, c.longestOverlap())}
}

// longestOverlap is the field that says how long earlier revisions verify at most.
func (c *Case) longestOverlap() string {
	if c.Wants.WhenUnused() {
		return "maxOverlap"
	}
	return "overlap"
}

func (c *Case) rejectedObstacle() *report.Obstacle {
	return &report.Obstacle{Reason: c.Rejection.Reason, Message: c.Rejection.Message + c.stillValid(), Stalled: true, Until: c.Now.Add(report.RetryDelay(c.Was.Conditions, c.Rejection.Reason, c.Now))}
}

func (c *Case) stillValid() string {
	if c.Published == nil || !c.Published.IsAdmitted(&c.Horizon) {
		return ""
	}
	return fmt.Sprintf(" (revision %d in Secret %q is still valid)", c.Published.Number, c.SecretName)
}
