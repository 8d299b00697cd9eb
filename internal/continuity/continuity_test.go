// SPDX-License-Identifier: Apache-2.0

package continuity_test

import (
	"testing"
	"time"

	"dgbot.io/key-operator/internal/continuity"
)

func TestEndedOnTime(t *testing.T) {
	asked := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		span, lasted time.Duration
		want         bool
	}{
		{40 * time.Second, 0, false}, {40 * time.Second, 30 * time.Second, false}, {40 * time.Second, 38 * time.Second, false},
		{40 * time.Second, 39500 * time.Millisecond, true}, {40 * time.Second, 40 * time.Second, true}, {40 * time.Second, 45 * time.Second, true},
		{40 * time.Second, 46 * time.Second, false}, {time.Second, 500 * time.Millisecond, false}, {time.Second, 800 * time.Millisecond, true},
		{time.Second, 2 * time.Second, true}, {10 * time.Minute, 9 * time.Minute, false},
	} {
		if got := continuity.EndedOnTime(asked, asked.Add(tc.lasted), tc.span); got != tc.want {
			t.Errorf("%s of %s: %t", tc.lasted, tc.span, got)
		}
	}
	suspended := asked.Add(10 * time.Minute)
	if continuity.EndedOnTime(asked, suspended, 40*time.Second) {
		t.Error("a machine that was suspended for 10 minutes")
	}
}

func TestOlder(t *testing.T) {
	for _, tc := range []struct {
		version, than string
		want          bool
	}{
		{"9", "10", true}, {"10", "9", false}, {"10", "10", false}, {"99999999999999999999", "100000000000000000000", true},
		{"", "10", false}, {"10", "", false}, {"0", "10", false}, {"x", "10", false}, {"010", "9", false},
	} {
		if got := continuity.Older(tc.version, tc.than); got != tc.want {
			t.Errorf("%q older than %q: %t", tc.version, tc.than, got)
		}
	}
}
