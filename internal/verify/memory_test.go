// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"runtime/debug"
	"testing"
)

func TestCollectorPercent_LeavesTheSameHeadroom(t *testing.T) {
	for living, want := range map[uint64]int{0: 300, 1 << 20: 300, 24 << 20: 200, 48 << 20: 100, 240 << 20: 20, 1 << 40: 15} {
		if got := collectorPercent(living); got != want {
			t.Errorf("%d MiB alive: %d%%, want %d%%", living>>20, got, want)
		}
	}
}

func TestTuneCollector_LeavesGOGCOfTheEnvironment(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("GOGC", "77")
	tuneCollector(ctx, func() bool { return true })
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC=77 became %d", got)
	}
}
