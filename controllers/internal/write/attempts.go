// SPDX-License-Identifier: Apache-2.0

package write

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/controllers/internal/read"
)

// Attempts counts consecutive failures, by object and attempt. The zero value is ready to use, and safe for concurrent use.
// It is in memory: after a restart one attempt may come too early.
type Attempts struct {
	mutex  sync.Mutex
	failed map[Attempt]Failure
	yields map[types.NamespacedName]yield
}

// Attempt identifies an attempt: a kind of write, or an observation.
type Attempt struct {
	Object types.NamespacedName
	What   string
}

// Failure holds when an attempt last failed, and the number of consecutive failures. The zero value means no failure.
type Failure struct {
	at    time.Time
	Times int
}

// Within reports whether the attempt failed less than a span ago. A failure in the future, from before the clock was set back, does not
// count.
func (f Failure) Within(span time.Duration, now time.Time) bool {
	return f.Times > 0 && now.Sub(f.at) < span && !now.Before(f.at)
}

// yield holds how often this instance yielded to the one that created a record.
type yield struct {
	record types.UID
	times  int
}

// Fail counts a failure, and returns the number of consecutive failures.
func (a *Attempts) Fail(what Attempt, at time.Time) (times int) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.failed == nil {
		a.failed = map[Attempt]Failure{}
	}
	times = a.failed[what].Times + 1
	a.failed[what] = Failure{at, times}
	return times
}

// LastFailure returns the last failure of an attempt since it last succeeded.
func (a *Attempts) LastFailure(what Attempt) Failure {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.failed[what]
}

// Succeed resets the count of consecutive failures.
func (a *Attempts) Succeed(what Attempt) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.failed, what)
}

// maxYields is how often an instance yields to another one for a record: the one that created it may have crashed.
const maxYields = 4

// MayYield reports whether to yield once more to the instance that created a record, and counts it.
func (a *Attempts) MayYield(object types.NamespacedName, record types.UID) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.yields == nil {
		a.yields = map[types.NamespacedName]yield{}
	}
	last := a.yields[object]
	if last.record != record {
		last = yield{record: record}
	}
	last.times++
	a.yields[object] = last
	return last.times <= maxYields
}

// Forget forgets all attempts for an object.
func (a *Attempts) Forget(object types.NamespacedName) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for what := range a.failed {
		if what.Object == object {
			delete(a.failed, what)
		}
	}
	delete(a.yields, object)
}

// MaxTransientReads is how many passes in a row retry a read that got no answer from the API server before the failure is
// reported. With queue.minRetry this takes about 1.5 s, which is longer than a dropped connection lasts. A read that ends at its deadline is
// retried once: the first deadline may have been that of a withdrawal.
const MaxTransientReads = 5

// observing is the attempt that counts observations of an object that failed in a row.
const observing = "observation"

// RetryReads returns the error to retry with if reads of an observation got no answer from the API server, and few consecutive
// observations had that: one dropped connection must not make a condition and an event. It returns nil if the failure is to be reported.
func (a *Attempts) RetryReads(object types.NamespacedName, f *read.Failures, now time.Time) error {
	counter := Attempt{object, observing}
	if f.Err() == nil {
		a.Succeed(counter)
		return nil
	}
	most := MaxTransientReads
	if errors.Is(f.Err(), context.DeadlineExceeded) {
		most = 1
	}
	if f.Transient() && a.Fail(counter, now) <= most {
		return f.Err()
	}
	return nil
}
