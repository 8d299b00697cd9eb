// SPDX-License-Identifier: Apache-2.0

package tracking

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// TestTracking_At: a Lease that lapsed, or is dated ahead, proves nothing.
func TestTracking_At(t *testing.T) {
	for name, tc := range map[string]struct {
		since, renewed time.Duration
		want           bool
	}{
		"renewed now":             {-time.Hour, 0, true},
		"renewed just in time":    {-time.Hour, -MaxTrackingGap + time.Second, true},
		"lapsed":                  {-time.Hour, -MaxTrackingGap, false},
		"a little ahead":          {-time.Hour, time.Minute, true},
		"ahead":                   {-time.Hour, time.Minute + time.Second, false},
		"begun later than it was": {time.Minute + time.Second, 0, false},
	} {
		tracked := &Tracking{Since: now.Add(tc.since), Renewed: now.Add(tc.renewed)}
		if got := tracked.At(now); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	var none *Tracking
	if none.At(now) {
		t.Error("no Lease proves something")
	}
}

// TestTracking_IsProven once a Lease was renewed after the reports of the slowest verifier were due.
func TestTracking_IsProven(t *testing.T) {
	for name, tc := range map[string]struct {
		at, renewed time.Duration
		want, wakes bool
	}{
		"long ago":                       {-time.Hour, 0, true, false},
		"a Lag ago, renewed since":       {-time.Minute, 0, true, false},
		"a Lag ago, not renewed since":   {-time.Minute, -time.Second, false, true},
		"less than a Lag ago":            {-59 * time.Second, 0, false, true},
		"renewed ahead, before its time": {-59 * time.Second, time.Minute, false, true},
	} {
		h := &instant.Horizon{Now: now}
		tracked := &Tracking{Since: now.Add(-2 * time.Hour), Renewed: now.Add(tc.renewed), Lag: time.Minute}
		if got := tracked.IsProven(now.Add(tc.at), h); got != tc.want || tc.wakes == h.Next.IsZero() {
			t.Errorf("%s: %t, planned again at %s", name, got, h.Next)
		}
	}
}

// TestLastUse_IgnoresTheFuture: a verifier whose clock is wrong must not make a key look used until then.
func TestLastUse_IgnoresTheFuture(t *testing.T) {
	for ahead, want := range map[time.Duration]bool{-time.Hour: true, 0: true, time.Minute: true, time.Minute + time.Second: false} {
		used := &revisions.Revision{LastUsedAt: &metav1.Time{Time: now.Add(ahead)}}
		if got := LastUse(used, &instant.Horizon{Now: now}); (got != nil) != want {
			t.Errorf("a use %s ahead: %v", ahead, got)
		}
	}
	if got := LastUse(&revisions.Revision{}, &instant.Horizon{Now: now}); got != nil {
		t.Errorf("no use: %s", got)
	}
}
