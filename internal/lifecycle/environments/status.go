// SPDX-License-Identifier: Apache-2.0

// Package environments describes a DGbotEnvironment: whether its rules are enforced, and what the audit of its keys has found.
package environments

import (
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// Observation is everything that the status of an environment is made from.
type Observation struct {
	Environment *v1alpha1.DGbotEnvironment
	// Keys of the environment. What they say of themselves in their status is summed up.
	Keys []v1alpha1.DGbotAPIKey
	// UnknownZones are the windows of spec.rotation.windows whose time zone is unknown.
	UnknownZones []UnknownZone
	// SelectsNothing: no namespace that there is may hold its keys.
	SelectsNothing bool
	// Failed are the reads that failed: report.ReadNamespaces and report.ReadKeys.
	Failed report.FailedReads
}

// UnknownZone describes a window whose time zone is unknown.
type UnknownZone struct {
	// Window is the index of the window in spec.rotation.windows.
	Window int
	// Name of the time zone.
	Name string
}

// Status describes an environment, and says from when on time alone makes the description another; zero for never.
func Status(o Observation, now time.Time) (s *v1alpha1.DGbotEnvironmentStatus, wake time.Time) {
	env := o.Environment
	c := report.NewConditions(env.Status.Conditions, env.Generation, now)
	var failed *report.Obstacle
	switch {
	case len(o.Failed) > 0:
		failed = o.Failed.Obstacle(stillEnforced, env.Status.Conditions, now)
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionFalse, failed.Reason, failed.Message)
		c.Progress(true, false, failed.Reason, failed.Message)
	case len(o.UnknownZones) > 0:
		message := unknownZones(o.UnknownZones)
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.TimeZoneUnknownReason, message)
		c.Progress(true, false, v1alpha1.TimeZoneUnknownReason, message)
	default:
		c.Set(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.EnforcedReason, "The operator enforces the rules on the keys of this environment")
		c.Progress(false, false, "", "")
	}
	if !o.Failed.Any(report.ReadNamespaces) {
		c.WhileTrue(v1alpha1.SelectsNothingCondition, o.SelectsNothing, v1alpha1.NoNamespaceReason, selectsNothing(env.Spec.NamespaceSelector))
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

// stillEnforced is what a status with failed reads means for keys.
const stillEnforced = "The operator still enforces the rules on each key, and this status shows the last successful read; the operator retries with back-off"

// maxZonesNamed bounds how many windows a message names.
const maxZonesNamed = 4

// unknownZones is the message about windows whose time zone is unknown.
func unknownZones(zones []UnknownZone) string {
	var windows []string
	for _, zone := range zones[:min(len(zones), maxZonesNamed)] {
		windows = append(windows, fmt.Sprintf("spec.rotation.windows[%d] (%q)", zone.Window, zone.Name))
	}
	named := strings.Join(windows, ", ")
	if more := len(zones) - maxZonesNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("The operator does not know the time zone of %s: a window with an unknown time zone never opens, so the operator rotates no key on schedule in that window; "+
		"set a name of the IANA time zone database, such as Europe/Berlin", named)
}

// selectsNothing is the message about a selector that is invalid, or that matches no namespace.
func selectsNothing(selector *metav1.LabelSelector) string {
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		return fmt.Sprintf("The operator issues no new key: spec.namespaceSelector is invalid (%s); correct the selector", err)
	}
	return fmt.Sprintf("The operator issues no new key: no namespace has the labels of spec.namespaceSelector (%s); label a namespace, or change the selector",
		metav1.FormatLabelSelector(selector))
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
