// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"cmp"
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// defaultWithin bounds a wait; nothing takes nearly as long on an idle machine.
	defaultWithin = 60 * time.Second
	// pollInterval lies between two checks of a condition.
	pollInterval = 30 * time.Millisecond
	// programInterval lies between two checks of a condition that may run a program such as kubectl.
	programInterval = 100 * time.Millisecond
	// tailLines is how many lines of the log a failed wait shows.
	tailLines = 30
)

// Must ends the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until a condition holds, and ends the test if it does not within the limit. The condition also returns what it has
// seen, which the failure shows. It may run a program, and is therefore checked less often than others.
func Eventually(t testing.TB, within time.Duration, what string, condition func() (holds bool, seen string)) {
	t.Helper()
	if seen, err := poll(t.Context(), programInterval, within, condition); err != nil {
		t.Fatalf("not within %s: %s: %s", within, what, seen)
	}
}

// Eventually waits until a condition holds, and ends the test if it does not within the bound of the World. The failure shows the end of
// the log.
func (w *World) Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	w.EventuallyEvery(t, pollInterval, w.limit(), what, condition)
}

// EventuallyEvery is Eventually for what takes long, or is expensive to check.
func (w *World) EventuallyEvery(t testing.TB, interval, within time.Duration, what string, condition func() bool) {
	t.Helper()
	w.await(t, interval, within, what, func() (bool, string) { return condition(), "the condition does not hold" })
}

// EventuallySeen is Eventually for a condition that also returns what it has seen, which the failure shows. It may run a program.
func (w *World) EventuallySeen(t testing.TB, what string, condition func() (holds bool, seen string)) {
	t.Helper()
	w.await(t, programInterval, w.limit(), what, condition)
}

func (w *World) await(t testing.TB, interval, within time.Duration, what string, condition func() (bool, string)) {
	t.Helper()
	if seen, err := poll(t.Context(), interval, within, condition); err != nil {
		t.Fatalf("not within %s: %s: %s\nlast lines of the log:\n%s", within, what, seen, w.LogTail(tailLines))
	}
}

func (w *World) limit() time.Duration { return cmp.Or(w.Within, defaultWithin) }

func poll(ctx context.Context, interval, within time.Duration, condition func() (bool, string)) (seen string, err error) {
	err = wait.PollUntilContextTimeout(ctx, interval, within, true, func(context.Context) (holds bool, _ error) {
		holds, seen = condition()
		return holds, nil
	})
	return seen, err
}
