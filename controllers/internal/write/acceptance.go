// SPDX-License-Identifier: Apache-2.0

package write

import (
	"sync"
	"time"
)

const (
	// acceptedFor is how long a namespace that accepted a new object is expected to accept another one.
	acceptedFor = 10 * time.Minute
	// rejectedFor is how long a namespace is tried with a dry run after it failed to accept one.
	rejectedFor = time.Hour
)

// Acceptance knows which namespaces have accepted a new object lately, so that the next one needs no dry run. A quota, a webhook or a missing
// right shows first in a write that fails: that costs one object for each worker, and from then on each attempt in the namespace begins with a
// dry run. The zero value is ready to use, and safe for concurrent use. Losing it costs dry runs.
type Acceptance struct {
	mutex sync.Mutex
	// last is the latest outcome in each namespace, at most rejectedFor old once another namespace was added.
	last map[string]outcomeAt
}

type outcomeAt struct {
	accepted bool
	at       time.Time
}

func (o outcomeAt) counts(now time.Time) bool {
	age := now.Sub(o.at)
	if o.accepted {
		return age >= 0 && age < acceptedFor
	}
	return age < rejectedFor
}

// Expected reports whether a namespace will probably accept a new object.
func (a *Acceptance) Expected(namespace string, now time.Time) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	last := a.last[namespace]
	return last.accepted && last.counts(now)
}

// Note keeps the outcome of a creation, or of its dry run. A namespace that failed is not expected to accept an object before rejectedFor has passed,
// whatever it accepts in between: a quota that is nearly full accepts some.
func (a *Acceptance) Note(namespace string, accepted bool, now time.Time) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	last, known := a.last[namespace]
	if accepted && known && !last.accepted && last.counts(now) {
		return
	}
	if a.last == nil {
		a.last = map[string]outcomeAt{}
	}
	if !known {
		for other, outcome := range a.last {
			if !outcome.counts(now) {
				delete(a.last, other)
			}
		}
	}
	a.last[namespace] = outcomeAt{accepted, now}
}
