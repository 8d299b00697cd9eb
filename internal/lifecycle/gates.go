// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// lookAgain is how often something that no watch reports is looked at.
	lookAgain = time.Minute
	// A refused write is tried again after as long as it has been refused, within these bounds.
	minRefusedDelay = 5 * time.Second
	maxRefusedDelay = 5 * time.Minute
)

// obstacle is why a revision is not issued, or why the key is not Ready.
type obstacle struct {
	reason, message string
	// stalled: a person has to change something. Otherwise it passes by itself.
	stalled bool
	// harmless: Ready is not affected.
	harmless bool
	// until is when to look again; zero: nothing changes by time alone.
	until time.Time
}

// gates are what may keep an owner from being Ready or a revision from being issued. The first that is closed is reported. A gate
// returns nil while it is open.
var gates = []func(*planner) *obstacle{
	// Even before spec.state: a key whose records cannot be revoked is not revoked.
	(*planner).rejectedRecordGate,
	// Before spec.state as well: the records follow spec.state, but whether the rest of the status is right is unknown.
	(*planner).failedReadGate,
	// Before spec.state, because the audit says more: why, and how to keep the key.
	(*planner).auditGate,
	(*planner).stateGate,
	(*planner).rejectedWriteGate,
	(*planner).environmentGate,
	(*planner).chatbotGate,
}

// issueGates are asked only when a revision is due.
var issueGates = []func(*planner) *obstacle{
	(*planner).secretGate,
	// Attempts that failed come before damping and overlap: their condition keeps the API server's answer.
	(*planner).attemptsGate,
	(*planner).dampingGate,
	(*planner).overlapGate,
}

func (p *planner) findObstacle() *obstacle {
	asked := gates
	if p.cause != "" {
		asked = slices.Concat(gates, issueGates)
	}
	for _, gate := range asked {
		if o := gate(p); o != nil {
			return o
		}
	}
	return nil
}

func (p *planner) rejectedRecordGate() *obstacle {
	if !p.recordsRefused() {
		return nil
	}
	return p.refusedObstacle()
}

func (p *planner) rejectedWriteGate() *obstacle {
	if p.Refusal == nil {
		return nil
	}
	return p.refusedObstacle()
}

func (p *planner) failedReadGate() *obstacle {
	if len(p.Failed) == 0 {
		return nil
	}
	return p.Failed.obstacle("The operator still applies revocation, disabling and expiry. It issues, publishes and repairs nothing until the read succeeds, and retries with back-off",
		p.was.conditions, p.now)
}

// secretGate is closed while another object has the name of the Secret.
func (p *planner) secretGate() *obstacle {
	switch p.Secret.State {
	case SecretForeign:
		return &obstacle{reason: v1alpha1.SecretConflictReason, stalled: true, until: p.now.Add(lookAgain), message: fmt.Sprintf(
			"Secret %q exists and does not belong to this %[2]s: it is left alone; delete or rename it, or create the %[2]s with another %[3]s", p.secretName, p.noun, p.secretField)}
	case SecretCollectable:
		return p.collectionObstacle(p.secretName)
	}
	return nil
}

// collectionGrace is for how long a Secret with another owner may count as one that garbage collection is about to delete.
const collectionGrace = time.Minute

// collectionObstacle waits for garbage collection to delete a Secret that is left over. Where the Secret has another owner, which the
// operator may not read, time tells whether that one is gone too: garbage collection takes seconds.
func (p *planner) collectionObstacle(name string) *obstacle {
	conditions, owner := p.was.conditions, p.noun
	ready, waiting := apimeta.FindStatusCondition(conditions, v1alpha1.ReadyCondition), apimeta.FindStatusCondition(conditions, v1alpha1.ReconcilingCondition)
	kept := ready != nil && ready.Reason == v1alpha1.SecretConflictReason ||
		waiting != nil && waiting.Reason == v1alpha1.WaitingForGarbageCollectionReason && p.reached(waiting.LastTransitionTime.Add(collectionGrace))
	if p.Secret.OtherOwner && kept {
		return &obstacle{reason: v1alpha1.SecretConflictReason, stalled: true, until: p.now.Add(lookAgain), message: fmt.Sprintf(
			"Secret %q is left over from a deleted %[2]s, and an owner reference to another object keeps garbage collection from deleting it: it is left alone; "+
				"delete or rename it, or create the %[2]s with another %[3]s", name, owner, p.secretField)}
	}
	return &obstacle{reason: v1alpha1.WaitingForGarbageCollectionReason, until: p.now.Add(lookAgain), message: fmt.Sprintf(
		"Secret %q is left over from a deleted %s and waits for garbage collection", name, owner)}
}

// dampingGate is closed while too many losses within the hour were healed.
func (p *planner) dampingGate() *obstacle {
	if !isLoss(p.cause) {
		return nil
	}
	until := dampedUntil(p.live, &p.horizon)
	if p.reached(until) {
		return nil
	}
	return &obstacle{reason: v1alpha1.SecretLossDampedReason, until: until, message: fmt.Sprintf(
		"Secret %q was replaced %d times or more within an hour because it was lost or altered; the next replacement is issued at %s: find out who deletes or overwrites it",
		p.secretName, dampingFree, until.UTC().Format(time.RFC3339))}
}

// overlapGate is closed for a rotation that can wait while as many earlier revisions verify as may.
func (p *planner) overlapGate() *obstacle {
	if p.published == nil || p.cause != v1alpha1.CauseSchedule && p.cause != v1alpha1.CauseRequest {
		return nil
	}
	// Revisions above the published one are attempts: they expire, and no client holds their keys.
	earlierOnes := slices.DeleteFunc(p.others(&p.horizon), func(r *Revision) bool { return r.Number > p.published.Number })
	if len(earlierOnes) < p.maxPrevious {
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
	return &obstacle{reason: v1alpha1.WaitingForOverlapReason, harmless: true, until: until, message: fmt.Sprintf(
		"A rotation is due, but %s. A shorter %s.%s ends it sooner", verify, p.rotationField, p.longestOverlap())}
}

// longestOverlap is the field that says how long earlier revisions verify at most.
func (p *planner) longestOverlap() string {
	if p.wants.whenUnused() {
		return "maxOverlap"
	}
	return "overlap"
}

// recordsRefused: the API server refuses to change or create a record.
func (p *planner) recordsRefused() bool {
	return p.Refusal != nil && p.Refusal.Reason == v1alpha1.RecordWriteRefusedReason
}

func (p *planner) refusedObstacle() *obstacle {
	return &obstacle{reason: p.Refusal.Reason, message: p.Refusal.Message + p.stillVerifies(), stalled: true, until: p.now.Add(refusedDelay(p.was.conditions, p.Refusal.Reason, p.now))}
}

func (p *planner) stillVerifies() string {
	if p.published == nil || !p.published.isAdmitted(&p.horizon) {
		return ""
	}
	return fmt.Sprintf(" (revision %d in the Secret still verifies)", p.published.Number)
}

// refusedDelay is after how long a write is tried again that was refused for a reason.
func refusedDelay(conditions []metav1.Condition, reason string, now time.Time) time.Duration {
	stalled := apimeta.FindStatusCondition(conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != reason {
		return minRefusedDelay
	}
	return min(max(now.Sub(stalled.LastTransitionTime.Time), minRefusedDelay), maxRefusedDelay)
}
