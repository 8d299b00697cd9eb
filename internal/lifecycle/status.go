// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// maxPreviousShown bounds status.previous; more than the limit of earlier revisions can only verify for as long as a
// plan takes to be carried out.
const maxPreviousShown = 32

// statusOf describes the observation. What it says depends on the old status in three things only: when a condition last
// changed, requests that were handled and are no longer asked for, and the last use of revisions whose records are gone.
func statusOf(p *planner, old *v1alpha1.DGbotAPIKeyStatus) *v1alpha1.DGbotAPIKeyStatus {
	s := &v1alpha1.DGbotAPIKeyStatus{
		ObservedGeneration: p.generation,
		Conditions:         conditionsOf(p),
		NextRotationAt:     p.nextRotation(),
		LastHandledRequest: p.handled(),
		Audit:              p.audit.shown,
		Binding:            old.Binding,
		LastUsedAt:         p.lastUseOfAny(),
		TrackedSince:       p.trackedSince(),
	}
	switch current := old.Current; {
	case p.matched != nil:
		s.Current = describe(p, p.matched)
	case current != nil && (len(p.Failed) > 0 || p.Secret.State == SecretOwned && p.Secret.KeyID == current.KeyID):
		// The record is gone and the Secret still holds its key, or may hold it. Nothing else knows the number that was used.
		s.Current = current.DeepCopy()
	}
	if p.published != nil {
		s.Binding = &v1alpha1.Binding{Name: p.secretName}
	}
	for _, record := range p.others(&p.horizon) {
		if len(s.Previous) < maxPreviousShown {
			s.Previous = append(s.Previous, *describe(p, record))
		}
	}
	if p.Failed.Any(ReadRecords) && len(p.live) == 0 {
		s.Previous = old.Previous
	}
	return s
}

func describe(p *planner, record *Revision) *v1alpha1.RevisionStatus {
	return &v1alpha1.RevisionStatus{
		Revision:   record.Number,
		KeyID:      record.ID,
		RecordName: record.Name,
		IssuedAt:   record.IssuedAt,
		NotAfter:   record.NotAfter,
		LastUsedAt: lastUse(record, &p.horizon),
	}
}

func conditionsOf(p *planner) []metav1.Condition {
	c := newConditions(p.was.conditions, p.generation, p.now)
	ready, reason, message := readyOf(p)
	c.set(v1alpha1.ReadyCondition, ready, reason, message)
	stalled, reconciling := false, ready != metav1.ConditionTrue
	switch o := p.obstacle; {
	case o != nil:
		stalled, reconciling, reason, message = o.stalled, !o.stalled, o.reason, o.message
	case p.cause != "":
		reconciling, reason, message = true, v1alpha1.ProgressingReason, progressOf(p)
	}
	c.progress(stalled, reconciling, reason, message)
	c.whileTrue(v1alpha1.RequestInvalidCondition, p.requests.invalid != "", v1alpha1.AnnotationUnreadableReason, p.requests.invalid)
	reason = p.pendingReason()
	c.whileTrue(v1alpha1.RequestPendingCondition, reason != "", reason, p.pendingMessage())
	reason, message = p.unused()
	c.whileTrue(v1alpha1.UnusedCondition, reason != "", reason, message)
	if len(p.Failed) > 0 {
		// Whether these are still so is unknown. They stay as they were reported last.
		return c.list
	}
	violates := len(p.violations) > 0 && !p.issuesFirst()
	c.whileTrue(v1alpha1.PolicyViolationCondition, violates, v1alpha1.EnvironmentPolicyReason, p.policyViolation())
	missing := p.environmentMissing()
	c.whileTrue(v1alpha1.EnvironmentMissingCondition, missing != "", v1alpha1.EnvironmentUnknownReason, missing)
	reason, message = p.previousInUse()
	c.whileTrue(v1alpha1.PreviousRevisionInUseCondition, reason != "", reason, message)
	return c.list
}

func readyOf(p *planner) (metav1.ConditionStatus, string, string) {
	switch {
	case p.obstacle != nil && !p.obstacle.harmless:
		return metav1.ConditionFalse, p.obstacle.reason, p.obstacle.message
	case p.published != nil && p.published.isAdmitted(&p.horizon):
		return metav1.ConditionTrue, v1alpha1.IssuedReason, fmt.Sprintf("Revision %d is published in Secret %q and verifies",
			p.published.Number, p.secretName)
	}
	return metav1.ConditionFalse, v1alpha1.ProgressingReason, progressOf(p)
}

func progressOf(p *planner) string {
	return fmt.Sprintf("A revision is about to be issued (%s)", p.cause)
}
