// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercent_LeavesTheSameHeadroom(t *testing.T) {
	for living, want := range map[uint64]int{0: 300, 1 << 20: 300, 24 << 20: 200, 48 << 20: 100, 240 << 20: 20, 1 << 40: 15} {
		if got := (Collector{Headroom: 48 << 20}).percent(living); got != want {
			t.Errorf("%d MiB alive: %d%%, want %d%%", living>>20, got, want)
		}
	}
}

func TestTune_LeavesGOGCOfTheEnvironment(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("GOGC", "77")
	Collector{Headroom: 1, IsFilled: func() bool { return true }}.Tune(ctx)
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC=77 became %d", got)
	}
}

// TestTune_ReturnsMemoryAfterAPeak: at once where what the program keeps is complete, otherwise when there was no collection for a while.
func TestTune_ReturnsMemoryAfterAPeak(t *testing.T) {
	const peak = 64 << 20
	t.Setenv("GOGC", "") // restored afterwards
	if err := os.Unsetenv("GOGC"); err != nil {
		t.Fatal(err)
	}
	before := debug.SetGCPercent(-1)
	defer debug.SetGCPercent(before)
	for name, isFilled := range map[string]func() bool{"filled": func() bool { return true }, "unknown": nil} {
		t.Run(name, func(t *testing.T) {
			debug.SetGCPercent(-1)
			garbage := make([]byte, peak)
			for i := range garbage {
				garbage[i] = 1
			}
			runtime.KeepAlive(garbage)
			if unreturned() < peak/2 {
				t.Fatalf("a peak of %d bytes leaves %d", peak, unreturned())
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go Collector{Headroom: peak / 4, IsFilled: isFilled}.Tune(ctx)
			for deadline := time.Now().Add(time.Minute); unreturned() > peak/4; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d bytes were not returned", unreturned())
				}
			}
		})
	}
}
