// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/fairness"
	"dgbot.io/key-operator/internal/lifecycle"
)

// takingTurns returns what makes the queue of a controller: urgent requests go first, and namespaces take turns. The priority queue of
// controller-runtime was refused: its priorities are a label of its metrics, so that one for each turn would make series without
// bound, and requests of one priority are served by their age alone.
func takingTurns(urgent func(reconcile.Request) bool) func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return func(controller string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		byNamespace := func(request reconcile.Request) string { return request.Namespace }
		queue := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[reconcile.Request]{
			Name: controller, Queue: fairness.New(byNamespace, urgent),
		})
		delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[reconcile.Request]{Name: controller, Queue: queue})
		return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{
			Name: controller, DelayingQueue: delaying,
		})
	}
}

// neverUrgent is for controllers whose requests are all alike.
func neverUrgent(reconcile.Request) bool { return false }

// urgent reports whether something of a key waits to be withdrawn, as far as the cache knows.
func (r *APIKeyReconciler) urgent(request reconcile.Request) bool {
	if !filled(r.Client, request.Namespace, &v1alpha1.DGbotAPIKey{}, &v1alpha1.DGbotAPIKeyRecord{}) {
		return false
	}
	ctx, key := context.Background(), &v1alpha1.DGbotAPIKey{}
	if found, err := get(ctx, r.Client, request.NamespacedName, key); err != nil || !found {
		return false
	}
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := r.Client.List(ctx, &records, recordsOf(key)...); err != nil {
		return false
	}
	return lifecycle.WithdrawalOf(key, records.Items, r.Clock.Now()) != lifecycle.WithdrawNothing
}

// urgent reports whether an HMAC secret of a chatbot waits to be withdrawn, as far as the cache knows.
func (r *ChatbotReconciler) urgent(request reconcile.Request) bool {
	if !filled(r.Client, request.Namespace, &v1alpha1.DGbotChatbot{}) {
		return false
	}
	chatbot := &v1alpha1.DGbotChatbot{}
	found, err := get(context.Background(), r.Client, request.NamespacedName, chatbot)
	return err == nil && found && lifecycle.HMACWithdrawalOf(chatbot, r.Clock.Now()) != lifecycle.WithdrawNothing
}

// filled reports whether reads of these kinds in a namespace are served from memory. Where they go to the API server, a queue must not wait for
// them: it is locked while it asks.
func filled(reader client.Client, namespace string, kinds ...runtime.Object) bool {
	cached, ok := reader.(*cachedClient)
	if !ok {
		return true
	}
	for _, kind := range kinds {
		if cached.unfilled(kind, namespace) {
			return false
		}
	}
	return true
}
