// SPDX-License-Identifier: Apache-2.0

// Package status has what the status of an API key and that of a chatbot say alike, and the events that follow from it.
package status

import (
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// Events returns what to tell when the status of an owner becomes another one.
func Events(o *facts.Owner, revisions []*revisions.Revision, next facts.Summary, now time.Time) []report.Event {
	var events []report.Event
	issued := newlyIssued(o, revisions, &next, now)
	if issued != nil {
		events = append(events, issueEvents(o, issued, &next)...)
	}
	if before, after := o.Was.HandledRevocation(), next.HandledRevocation(); after != nil && !after.Equal(before) {
		events = append(events, report.Event{Reason: v1alpha1.RevokedReason, Action: "Revoke",
			Note: "Revoked all revisions issued up to " + instant.Format(after)})
	}
	was := apimeta.FindStatusCondition(o.Was.Conditions, v1alpha1.ReadyCondition)
	is := apimeta.FindStatusCondition(next.Conditions, v1alpha1.ReadyCondition)
	audited := stageEvent(o.Was.Conditions, next.Conditions)
	if audited != nil {
		events = append(events, *audited)
	}
	stalls := stallsAfterWaiting(o.Was.Conditions, next.Conditions)
	changed := is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason || stalls)
	if changed && (audited == nil || audited.Note != is.Message) && (issued == nil || is.Status != metav1.ConditionTrue) {
		warning := stalls || unwanted(is.Reason) && !waitsForEnvironment(next.Conditions)
		events = append(events, report.Event{Warning: warning, Reason: is.Reason, Action: "Reconcile", Note: is.Message})
	}
	if pending := pendingEvent(o, next.Conditions, now); pending != nil {
		events = append(events, *pending)
	}
	for _, abnormal := range []struct{ condition, action string }{
		{v1alpha1.RequestInvalidCondition, "ReadRequest"},
		{v1alpha1.PreviousRevisionInUseCondition, "Retire"},
		{v1alpha1.PolicyViolationCondition, "Enforce"},
		{v1alpha1.EnvironmentMissingCondition, "Enforce"},
	} {
		if is := report.Newly(abnormal.condition, o.Was.Conditions, next.Conditions); is != nil {
			events = append(events, report.Event{Warning: true, Reason: is.Reason, Action: abnormal.action, Note: is.Message})
		}
	}
	return events
}

// waitsForEnvironment reports whether a new key waits for its DGbotEnvironment and is not Stalled yet: not worth a warning, since
// the two are often applied together.
func waitsForEnvironment(conditions []metav1.Condition) bool {
	reconciling := apimeta.FindStatusCondition(conditions, v1alpha1.ReconcilingCondition)
	return reconciling != nil && reconciling.Reason == v1alpha1.EnvironmentUnknownReason
}

// stallsAfterWaiting reports whether a key has waited for its DGbotEnvironment for too long: Ready has the same reason before and after.
func stallsAfterWaiting(old, next []metav1.Condition) bool {
	stalled := report.Newly(v1alpha1.StalledCondition, old, next)
	return stalled != nil && stalled.Reason == v1alpha1.EnvironmentUnknownReason && waitsForEnvironment(old)
}

// stageEvent tells of a stage of the audit that a key has reached; nil where it has reached none.
func stageEvent(old, next []metav1.Condition) *report.Event {
	is := apimeta.FindStatusCondition(next, v1alpha1.UnusedCondition)
	if was := apimeta.FindStatusCondition(old, v1alpha1.UnusedCondition); is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	return &report.Event{Warning: true, Reason: is.Reason, Action: "Audit", Note: is.Message}
}

// LossEvent returns the event for a lost or altered Secret that a revision with another cause replaces.
func LossEvent(k *facts.Kind, loss v1alpha1.Cause, secretName string) report.Event {
	return report.Event{Warning: true, Reason: string(loss), Action: "Issue", Note: fmt.Sprintf(k.Losses[loss], secretName)}
}

// eventWindow is how long after a revision was issued its event is due if the status does not show it yet. After
// that the status was lost, or a user has restored the key.
const eventWindow = time.Hour

// newlyIssued returns the revision that the next status shows as current where the old one did not yet; nil
// where there is none: of an older key that a user restored, and of one that an audit has ended, the event came when they were issued.
func newlyIssued(o *facts.Owner, revisions []*revisions.Revision, next *facts.Summary, now time.Time) *revisions.Revision {
	if next.Current == nil {
		return nil
	}
	old := o.Was.Current
	for _, r := range revisions {
		switch {
		case r.Name != next.Current.Name, r.SupersededBy != 0, r.Mark != nil:
		case old != nil && r.Number <= old.Number:
		case now.Sub(r.IssuedAt.Time) > eventWindow:
		default:
			return r
		}
	}
	return nil
}

func issueEvents(o *facts.Owner, issued *revisions.Revision, next *facts.Summary) []report.Event {
	var events []report.Event
	cause := issued.Cause
	if revisions.IsLoss(cause) || cause == v1alpha1.CauseRecordLost {
		events = append(events, LossEvent(o.Kind, cause, o.SecretName))
	}
	note := fmt.Sprintf("Issued revision %d (%s), %s %s, in Secret %q", next.Current.Number, cause, o.IDName, next.Current.ID, o.SecretName)
	var until []string
	for _, previous := range next.Previous {
		if previous.NotAfter != nil && previous.Number < next.Current.Number {
			until = append(until, fmt.Sprintf("revision %d is valid until %s", previous.Number, instant.Format(previous.NotAfter)))
		}
	}
	if len(until) > 0 {
		note += "; " + strings.Join(until, ", ")
	}
	return append(events, report.Event{Reason: v1alpha1.IssuedReason, Action: "Issue", Note: report.Truncate(note)})
}

// unwanted reports whether a reason is one that no user asked for, so that the event is a warning.
func unwanted(reason string) bool {
	switch reason {
	case v1alpha1.IssuedReason, v1alpha1.PublishedReason, v1alpha1.DisabledReason, v1alpha1.RevokedReason, v1alpha1.ExpiredReason,
		v1alpha1.WaitingForGarbageCollectionReason, v1alpha1.WaitingForChatbotReason, v1alpha1.ProgressingReason:
		return false
	}
	return true
}
