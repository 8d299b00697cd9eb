// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Event describes a Kubernetes event about a key. Reason is a condition's reason or the cause of a revision.
type Event struct {
	Warning bool
	Reason  string
	Action  string
	Note    string
}

// Events returns what to tell when a key's status changes from old to new. Taken from the two statuses rather than from
// the steps, an event is repeated after a crash before the status is written, and never lost.
func Events(o Observation, next *v1alpha1.DGbotAPIKeyStatus, now time.Time) []Event {
	own := ownerOfKey(o.Key, &horizon{now: now})
	var revisions []*Revision
	for i := range o.Records {
		revisions = append(revisions, revisionOf(o.Key, &o.Records[i]))
	}
	return own.events(revisions, summaryOfKey(next), now)
}

// events returns what to tell when the status of an owner becomes another one.
func (o *owner) events(revisions []*Revision, next summary, now time.Time) []Event {
	var events []Event
	issued := o.newlyIssued(revisions, &next, now)
	if issued != nil {
		events = append(events, o.issueEvents(issued, &next)...)
	}
	if before, after := o.was.handledRevocation(), next.handledRevocation(); after != nil && !after.Equal(before) {
		events = append(events, Event{Reason: v1alpha1.RevokedReason, Action: "Revoke",
			Note: "Revoked all revisions issued up to " + rfc3339(after)})
	}
	was := apimeta.FindStatusCondition(o.was.conditions, v1alpha1.ReadyCondition)
	is := apimeta.FindStatusCondition(next.conditions, v1alpha1.ReadyCondition)
	audited := stageEvent(o.was.conditions, next.conditions)
	if audited != nil {
		events = append(events, *audited)
	}
	stalls := stallsAfterWaiting(o.was.conditions, next.conditions)
	changed := is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason || stalls)
	if changed && (audited == nil || audited.Note != is.Message) && (issued == nil || is.Status != metav1.ConditionTrue) {
		warning := stalls || unwanted(is.Reason) && !waitsForEnvironment(next.conditions)
		events = append(events, Event{Warning: warning, Reason: is.Reason, Action: "Reconcile", Note: is.Message})
	}
	if pending := o.pendingEvent(next.conditions, now); pending != nil {
		events = append(events, *pending)
	}
	for _, abnormal := range []struct{ condition, action string }{
		{v1alpha1.RequestInvalidCondition, "ReadRequest"},
		{v1alpha1.PreviousRevisionInUseCondition, "Retire"},
		{v1alpha1.PolicyViolationCondition, "Enforce"},
		{v1alpha1.EnvironmentMissingCondition, "Enforce"},
	} {
		if is := newly(abnormal.condition, o.was.conditions, next.conditions); is != nil {
			events = append(events, Event{Warning: true, Reason: is.Reason, Action: abnormal.action, Note: is.Message})
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
	stalled := newly(v1alpha1.StalledCondition, old, next)
	return stalled != nil && stalled.Reason == v1alpha1.EnvironmentUnknownReason && waitsForEnvironment(old)
}

// stageEvent tells of a stage of the audit that a key has reached; nil where it has reached none.
func stageEvent(old, next []metav1.Condition) *Event {
	is := apimeta.FindStatusCondition(next, v1alpha1.UnusedCondition)
	if was := apimeta.FindStatusCondition(old, v1alpha1.UnusedCondition); is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	return &Event{Warning: true, Reason: is.Reason, Action: "Audit", Note: is.Message}
}

// LossEvent tells of a lost or altered Secret that a revision with another cause replaces.
func LossEvent(o Observation, loss v1alpha1.Cause) Event {
	return keyKind.lossEvent(loss, SecretName(o.Key))
}

func (k *ownerKind) lossEvent(loss v1alpha1.Cause, secretName string) Event {
	return Event{Warning: true, Reason: string(loss), Action: "Issue", Note: fmt.Sprintf(k.losses[loss], secretName)}
}

// eventWindow is how long after a revision was issued its event is due if the status does not show it yet. After
// that the status was lost, or a user has restored the key.
const eventWindow = time.Hour

// newlyIssued returns the revision that the next status shows as current where the old one did not yet; nil
// where there is none: of an older key that a user restored, and of one that an audit has ended, the event came when they were issued.
func (o *owner) newlyIssued(revisions []*Revision, next *summary, now time.Time) *Revision {
	if next.current == nil {
		return nil
	}
	old := o.was.current
	for _, r := range revisions {
		switch {
		case r.Name != next.current.Name, r.SupersededBy != 0, r.Mark != nil:
		case old != nil && r.Number <= old.Number:
		case now.Sub(r.IssuedAt.Time) > eventWindow:
		default:
			return r
		}
	}
	return nil
}

func (o *owner) issueEvents(issued *Revision, next *summary) []Event {
	var events []Event
	cause := issued.Cause
	if isLoss(cause) || cause == v1alpha1.CauseRecordLost {
		events = append(events, o.lossEvent(cause, o.secretName))
	}
	note := fmt.Sprintf("Issued revision %d (%s), %s %s, in Secret %q", next.current.Number, cause, o.idName, next.current.ID, o.secretName)
	var until []string
	for _, previous := range next.previous {
		if previous.NotAfter != nil && previous.Number < next.current.Number {
			until = append(until, fmt.Sprintf("revision %d verifies until %s", previous.Number, rfc3339(previous.NotAfter)))
		}
	}
	if len(until) > 0 {
		note += "; " + strings.Join(until, ", ")
	}
	return append(events, Event{Reason: v1alpha1.IssuedReason, Action: "Issue", Note: truncate(note)})
}

// newly returns a condition that was not there before; nil where it was, or is not there now.
func newly(kind string, old, next []metav1.Condition) *metav1.Condition {
	if apimeta.FindStatusCondition(old, kind) != nil {
		return nil
	}
	return apimeta.FindStatusCondition(next, kind)
}

func (s *summary) handledRevocation() *metav1.Time {
	if s.handled == nil {
		return nil
	}
	return s.handled.RevokeIssuedBefore
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
