// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"math/rand"
	"reflect"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

// farthest bounds how far ahead of an observation a time is tried.
const farthest = 90 * 24 * time.Hour

// TestPlan_DecidesTheSameUntilItWakesUp tries a time between now and the wake-up of each of many observations: there the plan must
// be the same. Random walks try it too, where the operator itself has brought about what is observed; here it is arbitrary.
func TestPlan_DecidesTheSameUntilItWakesUp(t *testing.T) {
	d, tried := draw{Rand: rand.New(rand.NewSource(1))}, 0
	for range lifecycle.Rounds(3000, 600) {
		d.lately = d.oneIn(4)
		sim := d.simulation()
		for range 1 + d.Intn(8) {
			if sim.Key.Spec.ChatbotRef == nil {
				sim.Chatbot = effective.Chatbot{}
			}
			if isAtRest(sim) {
				tried += d.tryBefore(t, sim)
			}
			d.goOn(sim)
		}
	}
	if tried < lifecycle.Rounds(1000, 200) {
		t.Errorf("only %d plans without a step were tried", tried)
	}
}

// isAtRest writes the status as the operator would, and reports whether there is nothing else to do. The status is part of what is
// observed next, so it may take more than one write.
func isAtRest(sim *lifecycle.Simulation) bool {
	for range 3 {
		decision := lifecycle.Plan(sim.Observation, sim.Now)
		if len(decision.Steps) > 0 || decision.Status == nil {
			return false
		}
		if reflect.DeepEqual(sim.Key.Status, *decision.Status) {
			return true
		}
		sim.Key.Status = *decision.Status
	}
	return false
}

// tryBefore compares the plan of an observation at rest with the one at a time before its wake-up, and returns how many it compared.
func (d draw) tryBefore(t *testing.T, sim *lifecycle.Simulation) int {
	t.Helper()
	decision := lifecycle.Plan(sim.Observation, sim.Now)
	at, ok := d.before(decision.Wake, sim.Now)
	if !ok {
		return 0
	}
	then := lifecycle.Plan(sim.Observation, at)
	if len(then.Steps) > 0 || !reflect.DeepEqual(decision.Status, then.Status) {
		t.Fatalf("planned at %s, woken at %s, but at %s the plan is another: %+v\n%s\n%s",
			sim.Now, decision.Wake, at, then.Steps, asJSON(decision.Status), asJSON(then.Status))
	}
	return 1
}

// before returns a time between now and a wake-up, which is zero for never; false where there is none.
func (d draw) before(wake, now time.Time) (time.Time, bool) {
	gap := farthest
	if !wake.IsZero() {
		gap = min(gap, wake.Sub(now))
	}
	if gap <= 1 {
		return time.Time{}, false
	}
	if d.oneIn(3) {
		return now.Add(gap - 1), true // just before
	}
	return now.Add(time.Duration(d.Int63n(int64(gap)))), true
}
