// SPDX-License-Identifier: Apache-2.0

// Package queuetest records what an event handler adds to a queue.
package queuetest

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Recorder is a queue that records the names of requests that are added at once, and later.
type Recorder struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	Now, Later map[string]bool
}

// NewRecorder returns an empty queue.
func NewRecorder() *Recorder {
	return &Recorder{Now: map[string]bool{}, Later: map[string]bool{}}
}

// Add records a request that is added at once.
func (q *Recorder) Add(request reconcile.Request) { q.Now[request.Name] = true }

// AddAfter records a request that is added later.
func (q *Recorder) AddAfter(request reconcile.Request, _ time.Duration) {
	q.Later[request.Name] = true
}
