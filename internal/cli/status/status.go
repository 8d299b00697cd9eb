// SPDX-License-Identifier: Apache-2.0

// Package status puts the status of a DGbotAPIKey into words.
package status

import (
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/requests"
)

// Withheld returns why the operator issues nothing for a key until a user changes the key; empty if the operator may issue.
func Withheld(key *v1alpha1.DGbotAPIKey) string {
	stalled := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.ObservedGeneration != key.Generation {
		return ""
	}
	if IsEnded(stalled.Reason) {
		return stalled.Reason + ": " + stalled.Message
	}
	return ""
}

// IsEnded reports whether a reason of Stalled is that a user, the audit or the key's own expiry has ended the key.
func IsEnded(reason string) bool {
	return reason == v1alpha1.DisabledReason || reason == v1alpha1.RevokedReason || reason == v1alpha1.ExpiredReason
}

// WhyWaiting returns the condition that explains what a key waits for, of those that still hold for a request of that time.
func WhyWaiting(key *v1alpha1.DGbotAPIKey, asked metav1.Time) string {
	for _, kind := range []string{v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition, v1alpha1.RequestPendingCondition} {
		if kind == v1alpha1.RequestPendingCondition && len(requests.PendingOf(key, asked.Time)) == 0 {
			continue // the condition is of an earlier request, which the one that is waited for has replaced
		}
		if c := apimeta.FindStatusCondition(key.Status.Conditions, kind); c != nil {
			return c.Reason + ": " + c.Message
		}
	}
	if c := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition); c != nil && key.Status.Current != nil {
		return fmt.Sprintf("waiting for the operator; Ready is %s for revision %d: %s: %s", c.Status, key.Status.Current.Revision, c.Reason, c.Message)
	}
	return "waiting for the operator"
}

// IsObserved reports whether the operator has observed the present spec of a key. If not, the status is of an earlier spec.
func IsObserved(k *v1alpha1.DGbotAPIKey) bool { return k.Status.ObservedGeneration >= k.Generation }

// Text returns a state for people, with a note if the status is not of the present spec.
func Text(state string, k *v1alpha1.DGbotAPIKey) string {
	if IsObserved(k) {
		return state
	}
	return fmt.Sprintf("%s (generation %d not yet observed)", state, k.Generation)
}

// State returns New for a key without a status, Ready, or the reason why the key is not ready.
func State(k *v1alpha1.DGbotAPIKey) string {
	ready := apimeta.FindStatusCondition(k.Status.Conditions, v1alpha1.ReadyCondition)
	switch {
	case ready == nil:
		return "New"
	case ready.Status == metav1.ConditionTrue:
		return "Ready"
	}
	return ready.Reason
}
