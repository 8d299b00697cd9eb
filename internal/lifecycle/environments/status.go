// SPDX-License-Identifier: Apache-2.0

// Package environments describes a DGbotEnvironment: whether its rules are enforced, and what the audit of its keys has found.
package environments

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// Observation is everything that the status of an environment is made from.
type Observation struct {
	Environment *v1alpha1.DGbotEnvironment
	// Keys of the environment. What they say of themselves in their status is summed up.
	Keys []v1alpha1.DGbotAPIKey
	// UnknownZone: a window is in a time zone that is not known.
	UnknownZone bool
	// SelectsNothing: no namespace that there is may hold its keys.
	SelectsNothing bool
	// Failed are the reads that failed: report.ReadNamespaces and report.ReadKeys.
	Failed report.FailedReads
}

// Status describes an environment, and says from when on time alone makes the description another; zero for never.
func Status(o Observation, now time.Time) (s *v1alpha1.DGbotEnvironmentStatus, wake time.Time) {
	env := o.Environment
	c := report.NewConditions(env.Status.Conditions, env.Generation, now)
	var failed *report.Obstacle
	switch {
	case len(o.Failed) > 0:
		failed = o.Failed.Obstacle("The operator still enforces the rules key by key; this status shows what it read last. It retries with back-off", env.Status.Conditions, now)
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionFalse, failed.Reason, failed.Message)
		c.Progress(true, false, failed.Reason, failed.Message)
	case o.UnknownZone:
		const message = "A window of spec.rotation.windows is in a time zone that the operator does not know: no key is rotated on schedule until it is corrected"
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.TimeZoneUnknownReason, message)
		c.Progress(true, false, v1alpha1.TimeZoneUnknownReason, message)
	default:
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.EnforcedReason, "The rules are enforced")
		c.Progress(false, false, "", "")
	}
	nothing := fmt.Sprintf("No namespace has the labels that spec.namespaceSelector asks for (%s): no key can be issued", effective.SelectorText(env.Spec.NamespaceSelector))
	if !o.Failed.Any(report.ReadNamespaces) {
		c.WhileTrue(v1alpha1.SelectsNothingCondition, o.SelectsNothing, v1alpha1.NoNamespaceReason, nothing)
	}
	s = &v1alpha1.DGbotEnvironmentStatus{ObservedGeneration: env.Generation, Conditions: c.List, Keys: int64(len(o.Keys))}
	if failed != nil {
		wake = failed.Until
	}
	if o.Failed.Any(report.ReadKeys) {
		s.Keys, s.Violating, s.Audit = env.Status.Keys, env.Status.Violating, env.Status.Audit
		return s, wake
	}
	for i := range o.Keys {
		if ViolatesRules(&o.Keys[i]) {
			s.Violating++
		}
	}
	if env.Spec.Audit == nil {
		return s, wake
	}
	h := instant.Horizon{Now: now, Next: wake}
	s.Audit = sumUp(env.Spec.Audit, o.Keys, &h)
	return s, h.Next
}

// ViolatesRules reports whether a key's status shows that it breaks a rule of its environment.
func ViolatesRules(key *v1alpha1.DGbotAPIKey) bool {
	ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && ready.Reason == v1alpha1.EnvironmentPolicyReason ||
		apimeta.IsStatusConditionTrue(key.Status.Conditions, v1alpha1.PolicyViolationCondition)
}

// Events returns what to tell when an environment's status changes to another one.
func Events(old, next *v1alpha1.DGbotEnvironmentStatus) []report.Event {
	var events []report.Event
	was, is := apimeta.FindStatusCondition(old.Conditions, v1alpha1.ReadyCondition), apimeta.FindStatusCondition(next.Conditions, v1alpha1.ReadyCondition)
	if is != nil && (was == nil || was.Reason != is.Reason) {
		events = append(events, report.Event{Warning: is.Status != metav1.ConditionTrue, Reason: is.Reason, Action: "Enforce", Note: is.Message})
	}
	if nothing := report.Newly(v1alpha1.SelectsNothingCondition, old.Conditions, next.Conditions); nothing != nil {
		events = append(events, report.Event{Warning: true, Reason: nothing.Reason, Action: "Enforce", Note: nothing.Message})
	}
	return events
}
