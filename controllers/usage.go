// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// usageDelay is how long a reported use waits to be carried to the key's status: reports of several revisions, and of
// several verifiers, then take one write.
const usageDelay = 2 * time.Second

// usageAlone says whether a use was reported of a record, and nothing else happened to it.
func usageAlone(e event.UpdateEvent) bool {
	before, after := e.ObjectOld, e.ObjectNew
	return before.GetUID() == after.GetUID() && before.GetGeneration() == after.GetGeneration() &&
		before.GetResourceVersion() != after.GetResourceVersion() &&
		maps.Equal(before.GetLabels(), after.GetLabels()) && maps.Equal(before.GetAnnotations(), after.GetAnnotations()) &&
		equality.Semantic.DeepEqual(before.GetOwnerReferences(), after.GetOwnerReferences()) &&
		before.GetDeletionTimestamp().Equal(after.GetDeletionTimestamp())
}

// notOfUsageAlone leaves out reports of uses.
func notOfUsageAlone() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return !usageAlone(e) }}
}

// wakeKeyOfRecord wakes the key of a record that has changed; for a reported use later. A flood of uses does not delay a revocation,
// which goes first, see takingTurns.
func wakeKeyOfRecord() handler.EventHandler {
	wake := handler.EnqueueRequestsFromMapFunc(keyOfRecord)
	return handler.Funcs{
		CreateFunc:  wake.Create,
		DeleteFunc:  wake.Delete,
		GenericFunc: wake.Generic,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if !usageAlone(e) {
				wake.Update(ctx, e, queue)
				return
			}
			for _, request := range keyOfRecord(ctx, e.ObjectNew) {
				wakeLater(queue, request)
			}
		},
	}
}

// wakeLater wakes a key for what does not concern whether it verifies. Other reasons wake it at once.
func wakeLater(queue workqueue.TypedRateLimitingInterface[reconcile.Request], request reconcile.Request) {
	queue.AddAfter(request, usageDelay)
}
