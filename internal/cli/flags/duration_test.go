// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"testing"
	"time"
)

// TestDuration_TakesDays beside what Go takes.
func TestDuration_TakesDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * Day, "1d12h": 36 * time.Hour, "1d0.5h": 24*time.Hour + 30*time.Minute, "90m": 90 * time.Minute, "2160h": 90 * Day, "0d": 0, "-1d": -Day, "-1d12h": -36 * time.Hour,
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "30", "1.5d", "1d-1h", "1d+1h", "1h1d", "1d2d", "30 d", "106752d", "106751d24h", "99999999999999999999d", "1w", "1d1"} {
		if got, err := parse(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
	for d, want := range map[time.Duration]string{90 * Day: "90d", time.Minute: "1m0s", 36 * time.Hour: "36h0m0s", 0: "0s"} {
		if span := Duration(d); span.String() != want {
			t.Errorf("%s is shown as %s", d, span.String())
		}
	}
}
