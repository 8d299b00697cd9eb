// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// conditions are those of an object, about to become the next ones.
type conditions struct {
	list       []metav1.Condition
	generation int64
	now        time.Time
}

func newConditions(old []metav1.Condition, generation int64, now time.Time) *conditions {
	return &conditions{list: slices.Clone(old), generation: generation, now: now}
}

func (c *conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&c.list, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: truncate(message),
		ObservedGeneration: c.generation,
		LastTransitionTime: metav1.Time{Time: c.now.UTC().Truncate(time.Second)},
	})
}

// whileTrue is for abnormal conditions, which are there only while True.
func (c *conditions) whileTrue(kind string, present bool, reason, message string) {
	if present {
		c.set(kind, metav1.ConditionTrue, reason, message)
	} else {
		apimeta.RemoveStatusCondition(&c.list, kind)
	}
}

// progress sets Stalled and Reconciling, as kstatus reads them.
func (c *conditions) progress(stalled, reconciling bool, reason, message string) {
	if old := apimeta.FindStatusCondition(c.list, v1alpha1.StalledCondition); old != nil && old.Reason != reason {
		// Another obstacle has a time of its own: by it refused writes are tried less and less often.
		apimeta.RemoveStatusCondition(&c.list, v1alpha1.StalledCondition)
	}
	c.whileTrue(v1alpha1.StalledCondition, stalled, reason, message)
	c.whileTrue(v1alpha1.ReconcilingCondition, reconciling, reason, message)
}
