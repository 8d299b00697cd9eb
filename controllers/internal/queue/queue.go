// SPDX-License-Identifier: Apache-2.0

// Package queue decides when a request is reconciled: the order of the queue, delays, and the changes that do not wake a controller.
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

// RateLimiter spaces retries of one object. There is no overall limit, because with one, broken keys would delay healthy ones.
func RateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, MaxRetry)
}

// FairByNamespace returns a constructor of queues for controller.Options.NewQueue: urgent requests go first, and namespaces take turns.
// The alternative is the priority queue of controller-runtime. Its priorities are a label of its metrics, so one priority for each turn
// would create series without bound, and it serves requests of one priority by their age alone.
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

// UsageDelay is how long AddLater waits: for reported uses, for free places among counted keys, and for foreign Secrets. Several events
// within this time then cost one write.
const UsageDelay = 2 * time.Second

// AddLater adds a request for a change that does not decide whether a key is accepted.
func AddLater(queue workqueue.TypedRateLimitingInterface[reconcile.Request], request reconcile.Request) {
	queue.AddAfter(request, UsageDelay)
}
