// SPDX-License-Identifier: Apache-2.0

package report

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Event describes a Kubernetes event about a key. Reason is a condition's reason or the cause of a revision.
type Event struct {
	Warning bool
	Reason  string
	Action  string
	Note    string
}

// Newly returns a condition that was not there before; nil where it was, or is not there now.
func Newly(kind string, old, next []metav1.Condition) *metav1.Condition {
	if apimeta.FindStatusCondition(old, kind) != nil {
		return nil
	}
	return apimeta.FindStatusCondition(next, kind)
}
