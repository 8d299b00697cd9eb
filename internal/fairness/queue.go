// SPDX-License-Identifier: Apache-2.0

// Package fairness decides in which order a controller works on what waits: what is urgent first, and otherwise each group, such as
// the objects of one namespace, in its turn. Ordered by arrival alone, a revocation would wait for the thousands of keys that
// another user has just created.
package fairness

import "container/list"

// maxUrgentInARow is how many urgent items are taken before one that is not: urgent items without end must not stop everything
// else. The price is that an urgent item may wait for one ordinary item.
const maxUrgentInARow = 8

// Queue orders the items of a client-go work queue, which calls it under its own lock and adds no item twice. The zero value is not
// usable.
type Queue[T comparable] struct {
	groupOf func(T) string
	urgent  func(T) bool

	lanes   [2]lane[T]
	waiting map[T]place
	// inARow counts the urgent items since the last ordinary one.
	inARow int
}

// The lanes of a queue.
const (
	urgentLane = iota
	ordinaryLane
)

// place is where an item waits.
type place struct {
	lane    int
	element *list.Element
}

// New returns an empty queue. groupOf names the group that an item belongs to. urgent reports whether an item goes first; it is asked
// each time an item is added, also one that is waiting already, and must not block.
func New[T comparable](groupOf func(T) string, urgent func(T) bool) *Queue[T] {
	return &Queue[T]{groupOf: groupOf, urgent: urgent, lanes: [2]lane[T]{newLane[T](), newLane[T]()}, waiting: map[T]place{}}
}

// Push adds an item that is not waiting.
func (q *Queue[T]) Push(item T) {
	if q.urgent(item) {
		q.add(urgentLane, item)
		return
	}
	q.add(ordinaryLane, item)
}

// Touch is called for an item that is added again while it is waiting: it may have become urgent. One that was urgent stays so.
func (q *Queue[T]) Touch(item T) {
	at, ok := q.waiting[item]
	if !ok || at.lane == urgentLane || !q.urgent(item) {
		return
	}
	q.lanes[ordinaryLane].remove(q.groupOf(item), at.element)
	q.add(urgentLane, item)
}

// Len returns the number of items that are waiting.
func (q *Queue[T]) Len() int { return len(q.waiting) }

// Pop removes the next item. It must not be called on an empty queue.
func (q *Queue[T]) Pop() T {
	take := urgentLane
	switch noneUrgent, noneOrdinary := q.lanes[urgentLane].empty(), q.lanes[ordinaryLane].empty(); {
	case noneUrgent, q.inARow >= maxUrgentInARow && !noneOrdinary:
		take, q.inARow = ordinaryLane, 0
	default:
		q.inARow++
	}
	item := q.lanes[take].next()
	delete(q.waiting, item)
	return item
}

func (q *Queue[T]) add(lane int, item T) {
	q.waiting[item] = place{lane, q.lanes[lane].add(q.groupOf(item), item)}
}

// lane has the items of each group in the order in which they came, and the groups in the order of their turns.
type lane[T comparable] struct {
	groups map[string]*group
	turns  *list.List // of names of groups that have items
}

type group struct {
	items *list.List
	turn  *list.Element
}

func newLane[T comparable]() lane[T] { return lane[T]{groups: map[string]*group{}, turns: list.New()} }

func (l *lane[T]) empty() bool { return l.turns.Len() == 0 }

func (l *lane[T]) add(name string, item T) *list.Element {
	g := l.groups[name]
	if g == nil {
		g = &group{items: list.New(), turn: l.turns.PushBack(name)}
		l.groups[name] = g
	}
	return g.items.PushBack(item)
}

func (l *lane[T]) remove(name string, element *list.Element) {
	g := l.groups[name]
	g.items.Remove(element)
	if g.items.Len() == 0 {
		l.turns.Remove(g.turn)
		delete(l.groups, name)
	}
}

// next removes the first item of the group whose turn it is, and puts the group behind the others.
func (l *lane[T]) next() (item T) {
	name, _ := l.turns.Front().Value.(string)
	g := l.groups[name]
	l.turns.MoveToBack(g.turn)
	first := g.items.Front()
	item, _ = first.Value.(T)
	l.remove(name, first)
	return item
}
