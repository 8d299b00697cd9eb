// SPDX-License-Identifier: Apache-2.0

// Package queue has what decides when a request is reconciled: the order of the queue, delays, and the changes that do not wake a controller.
package queue

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/internal/fairness"
)

// MaxWait is the longest delay until an object is reconciled again. Timers run on the monotonic clock, which stands still while the machine is
// suspended. Another pass costs no request.
const MaxWait = 10 * time.Minute

// The bounds of the delay between retries for one object.
const (
	minRetry = 50 * time.Millisecond
	// MaxRetry bounds the delay from above.
	MaxRetry = 5 * time.Minute
)

// RateLimiter spaces retries of one object; there is no overall limit, which would let broken keys delay healthy ones.
func RateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, MaxRetry)
}

// FairByNamespace returns a constructor of queues for controller.Options.NewQueue: urgent requests go first, and namespaces take turns. The
// priority queue of controller-runtime was refused: its priorities are a label of its metrics, so that one for each turn would make series
// without bound, and requests of one priority are served by their age alone.
func FairByNamespace(urgent func(reconcile.Request) bool) func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
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

// NeverUrgent reports false: no request of the controller goes first.
func NeverUrgent(reconcile.Request) bool { return false }

// UsageDelay is how long AddLater waits: for reported uses, for places that become free, and for Secrets that others own. What several events
// change then takes one write.
const UsageDelay = 2 * time.Second

// AddLater adds a request for a change that does not decide whether a key is accepted.
func AddLater(queue workqueue.TypedRateLimitingInterface[reconcile.Request], request reconcile.Request) {
	queue.AddAfter(request, UsageDelay)
}
