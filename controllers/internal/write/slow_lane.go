// SPDX-License-Identifier: Apache-2.0

package write

import (
	"sync"
	"time"

	"dgbot.io/key-operator/internal/lifecycle/steps"
)

const (
	// slowPublication is the duration from which on a publication counts as slow. The API server answers in milliseconds; a webhook that
	// does not answer takes up to PublishTimeout.
	slowPublication = steps.PublishTimeout / 2
	// slowFor is how long a namespace counts as slow after that, unless a faster publication there ends it.
	slowFor = 5 * time.Minute
)

// SlowLane prevents namespaces in which publishing takes long from occupying every worker. If a webhook does not answer, each key of its
// namespaces holds a worker for PublishTimeout, again and again; eight such keys would occupy eight workers all the time. So slow
// namespaces share a few workers, and the other namespaces have the rest.
//
// The alternative, a limit for each namespace from the start, would delay every healthy one. SlowLane costs the others at most
// PublishTimeout, once, when a namespace becomes slow. Replacing a revoked key does not wait for the lane: the contract promises it one
// attempt.
type SlowLane struct {
	mutex sync.Mutex
	// Capacity is how many keys of slow namespaces are published at once; zero for no limit.
	Capacity int
	busy     int
	// until is when a namespace no longer counts as slow.
	until map[string]time.Time
}

// CapacityOf returns how many of a number of workers slow namespaces may occupy.
func CapacityOf(workers int) int { return max(1, workers/4) }

// Enter reports whether a key of a namespace may be published now. If so, the caller calls leave at the end of the publication.
func (l *SlowLane) Enter(namespace string, began time.Time) (leave func(ended time.Time), ok bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	slow := began.Before(l.until[namespace])
	if slow && l.Capacity > 0 && l.busy >= l.Capacity {
		return nil, false
	}
	if slow {
		l.busy++
	}
	return func(ended time.Time) {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		if slow {
			l.busy--
		}
		if ended.Sub(began) < slowPublication {
			delete(l.until, namespace)
			return
		}
		if l.until == nil {
			l.until = map[string]time.Time{}
		}
		l.until[namespace] = ended.Add(slowFor)
	}, true
}
