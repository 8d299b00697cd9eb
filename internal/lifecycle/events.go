// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"strings"

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
func Events(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, next *v1alpha1.DGbotAPIKeyStatus) []Event {
	old := &key.Status
	var events []Event
	issued := next.Current != nil && (old.Current == nil || old.Current.KeyID != next.Current.KeyID)
	if issued {
		events = append(events, issueEvents(key, records, next)...)
	}
	if before, after := handledRevocation(old), handledRevocation(next); after != nil && !after.Equal(before) {
		events = append(events, Event{Reason: v1alpha1.RevokedReason, Action: "Revoke",
			Note: "Revoked all revisions issued up to " + rfc3339(after)})
	}
	was := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ReadyCondition)
	is := apimeta.FindStatusCondition(next.Conditions, v1alpha1.ReadyCondition)
	if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) && !(issued && is.Status == metav1.ConditionTrue) {
		events = append(events, Event{Warning: unwanted(is.Reason), Reason: is.Reason, Action: "Reconcile", Note: is.Message})
	}
	invalid := apimeta.FindStatusCondition(next.Conditions, v1alpha1.RequestInvalidCondition)
	if invalid != nil && apimeta.FindStatusCondition(old.Conditions, v1alpha1.RequestInvalidCondition) == nil {
		events = append(events, Event{Warning: true, Reason: invalid.Reason, Action: "ReadRequest", Note: invalid.Message})
	}
	return events
}

// LossEvent tells of a lost or altered Secret that a revision with another cause replaces.
func LossEvent(key *v1alpha1.DGbotAPIKey, loss v1alpha1.Cause) Event {
	what := map[v1alpha1.Cause]string{
		v1alpha1.CauseSecretLost:    "Secret %q was gone; a new revision replaces it",
		v1alpha1.CauseSecretAltered: "The key in Secret %q was changed; a new revision replaces it",
		v1alpha1.CauseRecordLost:    "The record of the key in Secret %q was gone, so that the key did not verify; a new revision replaces it",
	}[loss]
	return Event{Warning: true, Reason: string(loss), Action: "Issue", Note: fmt.Sprintf(what, SecretName(key))}
}

func issueEvents(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord, next *v1alpha1.DGbotAPIKeyStatus) []Event {
	var events []Event
	for i := range records {
		if records[i].Name != next.Current.RecordName {
			continue
		}
		cause := records[i].Spec.Cause
		if isLoss(cause) || cause == v1alpha1.CauseRecordLost {
			events = append(events, LossEvent(key, cause))
		}
		note := fmt.Sprintf("Issued revision %d (%s), key ID %s, in Secret %q", next.Current.Revision, cause, next.Current.KeyID, SecretName(key))
		var until []string
		for _, previous := range next.Previous {
			if previous.NotAfter != nil && previous.Revision < next.Current.Revision {
				until = append(until, fmt.Sprintf("revision %d verifies until %s", previous.Revision, rfc3339(previous.NotAfter)))
			}
		}
		if len(until) > 0 {
			note += "; " + strings.Join(until, ", ")
		}
		events = append(events, Event{Reason: v1alpha1.IssuedReason, Action: "Issue", Note: truncate(note)})
	}
	return events
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
	case v1alpha1.IssuedReason, v1alpha1.DisabledReason, v1alpha1.RevokedReason, v1alpha1.ExpiredReason,
		v1alpha1.WaitingForGarbageCollectionReason, v1alpha1.ProgressingReason:
		return false
	}
	return true
}
