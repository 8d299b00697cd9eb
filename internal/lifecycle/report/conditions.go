// SPDX-License-Identifier: Apache-2.0

// Package report has what users read about any of the three kinds: conditions, events, obstacles and failed reads.
package report

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Conditions are those of an object, about to become the next ones.
type Conditions struct {
	List       []metav1.Condition
	generation int64
	now        time.Time
}

// NewConditions returns the conditions of an object as they are.
func NewConditions(old []metav1.Condition, generation int64, now time.Time) *Conditions {
	return &Conditions{List: slices.Clone(old), generation: generation, now: now}
}

// Set has a condition, with the time at which its status changed last.
func (c *Conditions) Set(kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&c.List, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: Truncate(message),
		ObservedGeneration: c.generation,
		LastTransitionTime: metav1.Time{Time: c.now.UTC().Truncate(time.Second)},
	})
}

// WhileTrue is for abnormal conditions, which are there only while True.
func (c *Conditions) WhileTrue(kind string, present bool, reason, message string) {
	if present {
		c.Set(kind, metav1.ConditionTrue, reason, message)
	} else {
		apimeta.RemoveStatusCondition(&c.List, kind)
	}
}

// Progress sets Stalled and Reconciling, as kstatus reads them.
func (c *Conditions) Progress(stalled, reconciling bool, reason, message string) {
	if old := apimeta.FindStatusCondition(c.List, v1alpha1.StalledCondition); old != nil && old.Reason != reason {
		// Another obstacle has a time of its own: by it rejected writes are retried less and less often.
		apimeta.RemoveStatusCondition(&c.List, v1alpha1.StalledCondition)
	}
	c.WhileTrue(v1alpha1.StalledCondition, stalled, reason, message)
	c.WhileTrue(v1alpha1.ReconcilingCondition, reconciling, reason, message)
}
