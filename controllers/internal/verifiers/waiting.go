// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"container/heap"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

// scope is what a verifier covers or not: the keys of one namespace and environment.
type scope struct{ namespace, environment string }

// waiting has the keys whose withdrawals are not confirmed, by scope, the lowest version first. A renewal thus visits each verifier once for
// each scope, however many keys wait there, and then the keys that it confirms.
type waiting struct {
	wake   func(types.NamespacedName)
	scopes map[scope]*queued
	items  map[types.NamespacedName]*item
}

// queued are the keys of a scope.
type queued struct {
	heap []*item
	// ending are those whose version all verifiers have reached, and whose end not all clocks have. They are few, and soon done.
	ending map[*item]bool
	// unnamed are those whose status says that no verifier is registered.
	unnamed map[*item]bool
	// slowest is the verifier that had followed the least when all were last looked at; empty if they never were.
	slowest string
	// items is how many keys of the scope there are, those that were woken included.
	items int
}

// item is one key that waits.
type item struct {
	key     types.NamespacedName
	scope   scope
	awaited propagation.Awaited
	index   int
	// wokenAt is the count of changes at which the key was woken; -1 if it was not. Without a change, there is nothing to wake it for again.
	wokenAt int
}

func (q *queued) Len() int { return len(q.heap) }
func (q *queued) Less(i, j int) bool {
	return !registration.Reaches(q.heap[i].awaited.Version, q.heap[j].awaited.Version)
}
func (q *queued) Swap(i, j int) {
	q.heap[i], q.heap[j] = q.heap[j], q.heap[i]
	q.heap[i].index, q.heap[j].index = i, j
}

func (q *queued) Push(x any) {
	if added, ok := x.(*item); ok {
		added.index = len(q.heap)
		q.heap = append(q.heap, added)
	}
}

func (q *queued) Pop() any {
	last := q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	last.index = -1
	return last
}

// put has a key wait. One that was woken for the same does not wait again in the queue until put is called with something else, or after a change.
func (w *waiting) put(key types.NamespacedName, in scope, awaited propagation.Awaited) {
	wokenAt := -1
	if earlier := w.items[key]; earlier != nil {
		if earlier.scope == in && earlier.awaited.Version == awaited.Version && earlier.awaited.End.Equal(awaited.End) {
			if earlier.index >= 0 || w.scopes[in].ending[earlier] {
				w.scopes[in].mark(earlier, awaited.NoneIsKnown)
				return
			}
			wokenAt = earlier.wokenAt
		}
		w.remove(key)
	}
	if w.items == nil {
		w.items, w.scopes = map[types.NamespacedName]*item{}, map[scope]*queued{}
	}
	if w.scopes[in] == nil {
		w.scopes[in] = &queued{ending: map[*item]bool{}, unnamed: map[*item]bool{}}
	}
	added := &item{key: key, scope: in, awaited: awaited, wokenAt: wokenAt}
	w.items[key] = added
	w.scopes[in].items++
	heap.Push(w.scopes[in], added)
	w.scopes[in].mark(added, awaited.NoneIsKnown)
}

// mark notes whether the status of a key says that no verifier is registered.
func (q *queued) mark(i *item, noneIsKnown bool) {
	if noneIsKnown {
		q.unnamed[i] = true
	} else {
		delete(q.unnamed, i)
	}
}

func (w *waiting) remove(key types.NamespacedName) {
	removed := w.items[key]
	if removed == nil {
		return
	}
	delete(w.items, key)
	of := w.scopes[removed.scope]
	if removed.index >= 0 {
		heap.Remove(of, removed.index)
	}
	delete(of.ending, removed)
	delete(of.unnamed, removed)
	if of.items--; of.items == 0 {
		delete(w.scopes, removed.scope)
	}
}

// frontier is how far all verifiers of a scope have followed that are neither stopped nor gone.
type frontier struct {
	version string
	// renewed is the earliest of their last renewals, each by the verifier's own clock.
	renewed time.Time
	// slowest is the verifier that has followed the least.
	slowest string
}

// confirm wakes the keys of a scope whose withdrawals lie behind the frontier.
func (w *waiting) confirm(q *queued, all frontier, changes int) {
	for q.Len() > 0 && registration.Reaches(all.version, q.heap[0].awaited.Version) {
		if first, ok := heap.Pop(q).(*item); ok {
			q.ending[first] = true
		}
	}
	for ending := range q.ending {
		if ending.wokenAt == changes || all.renewed.Before(ending.awaited.End) || !registration.Reaches(all.version, ending.awaited.Version) {
			continue
		}
		delete(q.ending, ending)
		delete(q.unnamed, ending)
		if ending.wokenAt = changes; w.wake != nil {
			w.wake(ending.key)
		}
	}
}

// wakeUnnamed wakes the keys of a scope whose status says that no verifier is registered. They go on waiting for the confirmation.
func (w *waiting) wakeUnnamed(q *queued) {
	for unnamed := range q.unnamed {
		delete(q.unnamed, unnamed)
		if w.wake != nil {
			w.wake(unnamed.key)
		}
	}
}
