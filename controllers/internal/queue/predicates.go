// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// IgnoreStatusChanges ignores changes of the status alone, which the controller itself writes. Otherwise a rejection with other words each
// time would end its own back-off. A deletion changes the generation.
func IgnoreStatusChanges() predicate.Predicate {
	anotherKey := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() }}
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}, anotherKey)
}

// IsUsageOnly reports whether an update of a record reports a use, and nothing else.
func IsUsageOnly(e event.UpdateEvent) bool {
	before, after := e.ObjectOld, e.ObjectNew
	return before.GetUID() == after.GetUID() && before.GetGeneration() == after.GetGeneration() &&
		before.GetResourceVersion() != after.GetResourceVersion() &&
		maps.Equal(before.GetLabels(), after.GetLabels()) && maps.Equal(before.GetAnnotations(), after.GetAnnotations()) &&
		equality.Semantic.DeepEqual(before.GetOwnerReferences(), after.GetOwnerReferences()) &&
		before.GetDeletionTimestamp().Equal(after.GetDeletionTimestamp())
}

// IgnoreUsage ignores updates of records that only report a use.
func IgnoreUsage() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return !IsUsageOnly(e) }}
}
