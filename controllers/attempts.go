// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// attempts counts failures in a row, by object and by what was attempted. The zero value is ready to use, and safe for concurrent use.
// It lives in memory: after a restart one attempt may come too early.
type attempts struct {
	mutex  sync.Mutex
	failed map[attempt]failure
	yields map[types.NamespacedName]yield
}

// attempt identifies what is attempted: a kind of write, or an observation.
type attempt struct {
	object types.NamespacedName
	what   string
}

// failure holds when an attempt last failed, and how often in a row. The zero value stands for none.
type failure struct {
	at    time.Time
	times int
}

// within reports whether the attempt failed less than a span ago. A failure in the future, from before the clock was set back, does not
// count.
func (f failure) within(span time.Duration, now time.Time) bool {
	return f.times > 0 && now.Sub(f.at) < span && !now.Before(f.at)
}

// yield holds how often this instance yielded to the one that created a record.
type yield struct {
	record types.UID
	times  int
}

// fail counts a failure, and returns how many there were in a row.
func (a *attempts) fail(what attempt, at time.Time) (times int) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.failed == nil {
		a.failed = map[attempt]failure{}
	}
	times = a.failed[what].times + 1
	a.failed[what] = failure{at, times}
	return times
}

// lastFailure returns the last failure of an attempt since it last succeeded.
func (a *attempts) lastFailure(what attempt) failure {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.failed[what]
}

// succeed ends a row of failures.
func (a *attempts) succeed(what attempt) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.failed, what)
}

// maxYields is how often an instance yields to another one for a record: the one that created it may have crashed.
const maxYields = 4

// mayYield reports whether to yield once more to the instance that created a record, and counts it.
func (a *attempts) mayYield(object types.NamespacedName, record types.UID) bool {
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

// forget forgets all attempts for an object.
func (a *attempts) forget(object types.NamespacedName) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for what := range a.failed {
		if what.object == object {
			delete(a.failed, what)
		}
	}
	delete(a.yields, object)
}

// maxTransientReads is how many passes in a row retry a read that got no answer from the API server before the failure is
// reported. With minRetry this takes about 1.5 s, which is longer than a dropped connection lasts. A read that ends at its deadline is
// retried once: the first deadline may have been that of a withdrawal.
const maxTransientReads = 5

// observing is the attempt that counts observations of an object that failed in a row.
const observing = "observation"

// retryReads returns the error to retry with if reads of an observation got no answer from the API server, and have not often
// done so: a connection that was dropped once must not make a condition, and an event. It returns nil if the failure is to be reported.
func (a *attempts) retryReads(object types.NamespacedName, f *failures, now time.Time) error {
	counter := attempt{object, observing}
	if len(f.errs) == 0 {
		a.succeed(counter)
		return nil
	}
	most := maxTransientReads
	if errors.Is(f.all(), context.DeadlineExceeded) {
		most = 1
	}
	if f.transient() && a.fail(counter, now) <= most {
		return f.all()
	}
	return nil
}
