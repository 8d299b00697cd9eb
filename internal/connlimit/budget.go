// SPDX-License-Identifier: Apache-2.0

// Package connlimit bounds the memory that clients of a server can take: how many connections there are, and how many bytes
// of unanswered requests the server holds. A client that sends more waits: the server stops reading from its connection.
package connlimit

import (
	"container/list"
	"errors"
	"sync"
	"time"
)

// ErrExhausted is the error of a read for which no memory became available in time.
var ErrExhausted = errors.New("the memory for unanswered requests is exhausted; send smaller requests, or fewer at once")

// Budget is memory in bytes that the connections of a process share for requests that are not answered yet. It is safe for
// concurrent use.
type Budget struct {
	mutex sync.Mutex
	free  int
	// waiting holds the accounts that wait, in the order in which they began to.
	waiting list.List
}

// NewBudget returns a budget of a number of bytes.
func NewBudget(bytes int) *Budget { return &Budget{free: bytes} }

// Account is what one connection takes from a budget. Its first bytes, the allowance, are free: a connection with small
// requests goes on while others have exhausted the budget. At most one goroutine takes at a time.
type Account struct {
	budget    *Budget
	allowance int

	// All of these are guarded by the budget's mutex.
	used   int
	closed bool
	// wanted and granted are set while the connection waits.
	wanted  int
	granted chan struct{}
	place   *list.Element
}

// NewAccount returns an account with an allowance in bytes.
func (b *Budget) NewAccount(allowance int) *Account { return &Account{budget: b, allowance: allowance} }

// Free returns how many bytes no account has taken.
func (b *Budget) Free() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.free
}

// Take reserves bytes. If the budget has too few, it waits until others give some back, for at most the given time.
func (a *Account) Take(bytes int, patience time.Duration) error {
	granted, err := a.request(bytes)
	if granted == nil || err != nil {
		return err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-granted:
	case <-late.C:
	}
	return a.conclude()
}

// request reserves bytes at once, or begins to wait for them: granted is closed at the end of the wait.
func (a *Account) request(bytes int) (granted <-chan struct{}, err error) {
	a.budget.mutex.Lock()
	defer a.budget.mutex.Unlock()
	switch needed := a.beyond(bytes); {
	case a.closed:
		return nil, ErrExhausted
	// Those that wait come first, or large requests would never get what small ones leave.
	case needed == 0, needed <= a.budget.free && a.budget.waiting.Len() == 0:
		a.take(bytes)
		return nil, nil
	}
	a.wanted, a.granted = bytes, make(chan struct{})
	a.place = a.budget.waiting.PushBack(a)
	return a.granted, nil
}

// conclude ends a wait.
func (a *Account) conclude() error {
	a.budget.mutex.Lock()
	defer a.budget.mutex.Unlock()
	if a.place == nil && !a.closed {
		return nil
	}
	a.stopWaiting()
	return ErrExhausted
}

// Give returns bytes.
func (a *Account) Give(bytes int) {
	a.budget.mutex.Lock()
	defer a.budget.mutex.Unlock()
	a.give(bytes)
}

// Reset returns all bytes.
func (a *Account) Reset() {
	a.budget.mutex.Lock()
	defer a.budget.mutex.Unlock()
	a.give(a.used)
}

// Close returns all bytes for good, and ends a wait.
func (a *Account) Close() {
	a.budget.mutex.Lock()
	defer a.budget.mutex.Unlock()
	a.closed = true
	if a.place != nil {
		close(a.granted)
		a.stopWaiting()
	}
	a.give(a.used)
}

// beyond returns how much of a number of further bytes the allowance does not cover.
func (a *Account) beyond(bytes int) int {
	return max(0, a.used+bytes-a.allowance) - max(0, a.used-a.allowance)
}

func (a *Account) take(bytes int) {
	a.budget.free -= a.beyond(bytes)
	a.used += bytes
}

// give returns bytes, then serves those that wait: the account itself, which its allowance may cover now, and the first in line
// for as long as there is enough.
func (a *Account) give(bytes int) {
	bytes = min(bytes, a.used) // after Close nothing is left to return
	a.budget.free -= a.beyond(-bytes)
	a.used -= bytes
	if a.place != nil && a.beyond(a.wanted) == 0 {
		a.grant()
	}
	for first := a.budget.waiting.Front(); first != nil; first = a.budget.waiting.Front() {
		next, _ := first.Value.(*Account) // nothing else is in the list
		if next.beyond(next.wanted) > a.budget.free {
			return
		}
		next.grant()
	}
}

func (a *Account) grant() {
	a.take(a.wanted)
	close(a.granted)
	a.stopWaiting()
}

func (a *Account) stopWaiting() {
	if a.place != nil {
		a.budget.waiting.Remove(a.place)
	}
	a.place, a.granted, a.wanted = nil, nil, 0
}
