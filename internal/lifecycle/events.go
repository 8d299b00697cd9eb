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

// Event is something to tell people about a key. Reason is a condition's reason or the cause of a revision.
type Event struct {
	Warning bool
	Reason  string
	Action  string
	Note    string
}

// Events returns what to tell when a key's status changes from old to new. Taken from the two statuses rather than from
// the steps, an event is repeated after a crash before the status is written, and never lost.
func Events(o Observation, next *v1alpha1.DGbotAPIKeyStatus, now time.Time) []Event {
	old := &o.Key.Status
	var events []Event
	record := newlyIssued(o, next, now)
	if record != nil {
		events = append(events, issueEvents(o, record, next)...)
	}
	if before, after := handledRevocation(old), handledRevocation(next); after != nil && !after.Equal(before) {
		events = append(events, Event{Reason: v1alpha1.RevokedReason, Action: "Revoke",
			Note: "Revoked all revisions issued up to " + rfc3339(after)})
	}
	was := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ReadyCondition)
	is := apimeta.FindStatusCondition(next.Conditions, v1alpha1.ReadyCondition)
	audited := stageEvent(old, next)
	if audited != nil {
		events = append(events, *audited)
	}
	stalls := stallsAfterWaiting(old, next)
	changed := is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason || stalls)
	if changed && (audited == nil || audited.Note != is.Message) && (record == nil || is.Status != metav1.ConditionTrue) {
		warning := stalls || unwanted(is.Reason) && !waitsForEnvironment(next)
		events = append(events, Event{Warning: warning, Reason: is.Reason, Action: "Reconcile", Note: is.Message})
	}
	if pending := pendingEvent(o, next, now); pending != nil {
		events = append(events, *pending)
	}
	for _, abnormal := range []struct{ condition, action string }{
		{v1alpha1.RequestInvalidCondition, "ReadRequest"},
		{v1alpha1.PreviousRevisionInUseCondition, "Retire"},
		{v1alpha1.PolicyViolationCondition, "Enforce"},
		{v1alpha1.EnvironmentMissingCondition, "Enforce"},
	} {
		if is := newly(abnormal.condition, old.Conditions, next.Conditions); is != nil {
			events = append(events, Event{Warning: true, Reason: is.Reason, Action: abnormal.action, Note: is.Message})
		}
	}
	return events
}

// waitsForEnvironment reports whether a new key waits for its DGbotEnvironment and is not Stalled yet: not worth a warning, since
// the two are often applied together.
func waitsForEnvironment(s *v1alpha1.DGbotAPIKeyStatus) bool {
	reconciling := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ReconcilingCondition)
	return reconciling != nil && reconciling.Reason == v1alpha1.EnvironmentUnknownReason
}

// stallsAfterWaiting reports whether a key has waited for its DGbotEnvironment for too long: Ready has the same reason before and after.
func stallsAfterWaiting(old, next *v1alpha1.DGbotAPIKeyStatus) bool {
	stalled := newly(v1alpha1.StalledCondition, old.Conditions, next.Conditions)
	return stalled != nil && stalled.Reason == v1alpha1.EnvironmentUnknownReason && waitsForEnvironment(old)
}

// stageEvent tells of a stage of the audit that a key has reached; nil where it has reached none.
func stageEvent(old, next *v1alpha1.DGbotAPIKeyStatus) *Event {
	is := apimeta.FindStatusCondition(next.Conditions, v1alpha1.UnusedCondition)
	if was := apimeta.FindStatusCondition(old.Conditions, v1alpha1.UnusedCondition); is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	return &Event{Warning: true, Reason: is.Reason, Action: "Audit", Note: is.Message}
}

// LossEvent tells of a lost or altered Secret that a revision with another cause replaces.
func LossEvent(o Observation, loss v1alpha1.Cause) Event {
	return Event{Warning: true, Reason: string(loss), Action: "Issue", Note: fmt.Sprintf(o.subject().losses[loss], SecretName(o.Key))}
}

// toldFor is how long after a revision was issued a status that does not show it means that it has yet to be told. After
// that the status was lost, or somebody has put the key back.
const toldFor = time.Hour

// newlyIssued returns the record of the revision that the next status shows as current where the old one did not yet; nil
// where there is none: an older key that somebody put back, and one that an audit has ended, have been told when they were issued.
func newlyIssued(o Observation, next *v1alpha1.DGbotAPIKeyStatus, now time.Time) *v1alpha1.DGbotAPIKeyRecord {
	if next.Current == nil {
		return nil
	}
	old := o.Key.Status.Current
	for i := range o.Records {
		record := &o.Records[i]
		switch {
		case record.Name != next.Current.RecordName, SupersededBy(record) != 0, MarkOf(record) != nil:
		case old != nil && record.Spec.Revision <= old.Revision:
		case now.Sub(record.Spec.IssuedAt.Time) > toldFor:
		default:
			return record
		}
	}
	return nil
}

func issueEvents(o Observation, record *v1alpha1.DGbotAPIKeyRecord, next *v1alpha1.DGbotAPIKeyStatus) []Event {
	var events []Event
	cause := record.Spec.Cause
	if isLoss(cause) || cause == v1alpha1.CauseRecordLost {
		events = append(events, LossEvent(o, cause))
	}
	note := fmt.Sprintf("Issued revision %d (%s), %s %s, in Secret %q", next.Current.Revision, cause, o.subject().textID, next.Current.KeyID, SecretName(o.Key))
	var until []string
	for _, previous := range next.Previous {
		if previous.NotAfter != nil && previous.Revision < next.Current.Revision {
			until = append(until, fmt.Sprintf("revision %d verifies until %s", previous.Revision, rfc3339(previous.NotAfter)))
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

func handledRevocation(s *v1alpha1.DGbotAPIKeyStatus) *metav1.Time {
	if s.LastHandledRequest == nil {
		return nil
	}
	return s.LastHandledRequest.RevokeIssuedBefore
}

// unwanted: nobody asked for it, so it is a warning.
func unwanted(reason string) bool {
	switch reason {
	case v1alpha1.IssuedReason, v1alpha1.PublishedReason, v1alpha1.DisabledReason, v1alpha1.RevokedReason, v1alpha1.ExpiredReason,
		v1alpha1.WaitingForGarbageCollectionReason, v1alpha1.WaitingForChatbotReason, v1alpha1.ProgressingReason:
		return false
	}
	return true
}
