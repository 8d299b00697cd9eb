// SPDX-License-Identifier: Apache-2.0

package write

import (
	"testing"
	"time"
)

func TestSlowNamespacesShareAFewWorkers(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	lane := &SlowLane{Capacity: 2}
	enter := func(namespace string, want bool) func(time.Time) {
		t.Helper()
		leave, ok := lane.Enter(namespace, now)
		if ok != want {
			t.Fatalf("%s may be published: %t, want %t", namespace, ok, want)
		}
		return leave
	}

	// The lane does not know yet that they are slow.
	for _, namespace := range []string{"slow", "slow", "slow", "as-slow"} {
		enter(namespace, true)(now.Add(slowPublication))
	}
	first := enter("slow", true)
	second := enter("as-slow", true)
	enter("slow", false)
	enter("as-slow", false)
	enter("healthy", true)(now)

	second(now.Add(slowPublication))
	third := enter("slow", true)
	first(now.Add(slowPublication))
	third(now.Add(slowPublication))

	// One that was quick tells that its namespace is healthy again.
	enter("slow", true)(now.Add(slowPublication - 1))
	leave := []func(time.Time){enter("as-slow", true), enter("as-slow", true)}
	enter("as-slow", false)
	enter("slow", true)(now)
	for _, l := range leave {
		l(now.Add(slowPublication))
	}

	// After a while one key has to try again.
	now = now.Add(slowPublication + slowFor)
	enter("as-slow", true)
	enter("as-slow", true)
	enter("as-slow", true)
	if lane.busy != 0 {
		t.Errorf("%d in the lane", lane.busy)
	}
}

func TestSlowNamespacesNeverHaveAllWorkers(t *testing.T) {
	for workers, want := range map[int]int{1: 1, 2: 1, 4: 1, 8: 2, 100: 25} {
		if got := CapacityOf(workers); got != want {
			t.Errorf("%d of %d workers, want %d", got, workers, want)
		}
	}
}
