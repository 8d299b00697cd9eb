// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/audit"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/status"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// maxPreviousShown bounds status.previous; more than the limit of earlier revisions can only verify for as long as a
// plan takes to be carried out.
const maxPreviousShown = 32

// statusOf describes the observation. What it says depends on the old status in four things only: when a condition last
// changed, requests that were handled and are no longer asked for, the last use of revisions whose records are gone, and how far
// verifiers have followed.
func statusOf(p *gates.Gated, old *v1alpha1.DGbotAPIKeyStatus, followed *v1alpha1.Propagation, verifiers *propagation.View) *v1alpha1.DGbotAPIKeyStatus {
	s := &v1alpha1.DGbotAPIKeyStatus{
		ObservedGeneration: p.Generation,
		Conditions:         conditionsOf(p, followed, verifiers),
		NextRotationAt:     status.NextRotation(p),
		LastHandledRequest: status.Handled(p.Known),
		Audit:              p.Audit.Shown,
		Propagation:        followed,
		Binding:            old.Binding,
		LastUsedAt:         p.LastUseOfAny(),
		TrackedSince:       p.TrackedSince(),
	}
	switch current := old.Current; {
	case p.Matched != nil:
		s.Current = describe(p, p.Matched)
	case current != nil && (len(p.Failed) > 0 || p.Taken < current.Revision || p.Secret.State == revisions.SecretOwned && p.Secret.KeyID == current.KeyID):
		// The record is gone, or may be. Either nothing else knows the number that was used, or the Secret still holds its key.
		s.Current = current.DeepCopy()
	}
	if p.Published != nil {
		s.Binding = &v1alpha1.Binding{Name: p.SecretName}
	}
	for _, record := range p.Others(&p.Horizon) {
		if len(s.Previous) < maxPreviousShown {
			s.Previous = append(s.Previous, *describe(p, record))
		}
	}
	if p.Failed.Any(report.ReadRecords) && len(p.Owned) == 0 {
		s.Previous = old.Previous
	}
	return s
}

func describe(p *gates.Gated, record *revisions.Revision) *v1alpha1.RevisionStatus {
	return &v1alpha1.RevisionStatus{
		Revision:   record.Number,
		KeyID:      record.ID,
		RecordName: record.Name,
		IssuedAt:   record.IssuedAt,
		NotAfter:   record.NotAfter,
		LastUsedAt: tracking.LastUse(record, &p.Horizon),
	}
}

func conditionsOf(p *gates.Gated, followed *v1alpha1.Propagation, verifiers *propagation.View) []metav1.Condition {
	c := report.NewConditions(p.Was.Conditions, p.Generation, p.Now)
	ready, reason, message := readyOf(p)
	c.Set(v1alpha1.ReadyCondition, ready, reason, message)
	stalled, reconciling := false, ready != metav1.ConditionTrue
	switch o := p.Obstacle; {
	case o != nil:
		stalled, reconciling, reason, message = o.Stalled, !o.Stalled, o.Reason, o.Message
	case p.Cause != "":
		reconciling, reason, message = true, v1alpha1.ProgressingReason, progressOf(p)
	}
	c.Progress(stalled, reconciling, reason, message)
	c.WhileTrue(v1alpha1.RequestInvalidCondition, p.Requests.Invalid != "", v1alpha1.AnnotationUnreadableReason, p.Requests.Invalid)
	reason = status.PendingReason(p.Known)
	c.WhileTrue(v1alpha1.RequestPendingCondition, reason != "", reason, status.PendingMessage(p.Known))
	reason, message = audit.Unused(p.Known, p.Audit.Shown)
	c.WhileTrue(v1alpha1.UnusedCondition, reason != "", reason, message)
	reason, message = propagation.Condition(followed, verifiers)
	c.WhileTrue(v1alpha1.PropagationPendingCondition, reason != "", reason, message)
	if len(p.Failed) > 0 {
		// Whether these are still so is unknown. They stay as they were reported last.
		return c.List
	}
	violates := len(p.Violations) > 0 && !p.IssuesFirst()
	c.WhileTrue(v1alpha1.PolicyViolationCondition, violates, v1alpha1.EnvironmentPolicyReason, p.PolicyViolation())
	missing := p.EnvironmentMissing()
	c.WhileTrue(v1alpha1.EnvironmentMissingCondition, missing != "", v1alpha1.EnvironmentUnknownReason, missing)
	reason, message = changes.PreviousInUse(p.Known)
	c.WhileTrue(v1alpha1.PreviousRevisionInUseCondition, reason != "", reason, message)
	return c.List
}

func readyOf(p *gates.Gated) (metav1.ConditionStatus, string, string) {
	switch {
	case p.Obstacle != nil && !p.Obstacle.Harmless:
		return metav1.ConditionFalse, p.Obstacle.Reason, p.Obstacle.Message
	case p.Published != nil && p.Published.IsAdmitted(&p.Horizon):
		return metav1.ConditionTrue, v1alpha1.IssuedReason, fmt.Sprintf("Revision %d is published in Secret %q and is valid",
			p.Published.Number, p.SecretName)
	}
	return metav1.ConditionFalse, v1alpha1.ProgressingReason, progressOf(p)
}

// progressOf is the message of a key that waits for a write. Without a cause, the published revision waits for a change of its record, such as
// that from Disabled to Active.
func progressOf(p *gates.Gated) string {
	if p.Cause == "" {
		return fmt.Sprintf("The key in Secret %q is not valid yet: the operator waits until the API server has stored the change of its record; if this lasts for more than a minute, read the operator's log",
			p.SecretName)
	}
	return fmt.Sprintf("A new revision is due (%s): the operator waits until the API server has stored the record of the revision and Secret %q; if this lasts for more than a minute, read the operator's log",
		p.Cause, p.SecretName)
}
