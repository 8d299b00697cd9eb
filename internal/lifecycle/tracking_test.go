// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

func TestTrackedSinceIsTheLaterOfLeaseAndIssue(t *testing.T) {
	for name, tc := range map[string]struct {
		tracking *tracking.Tracking
		want     *metav1.Time
	}{
		"no verifier reports":       {nil, nil},
		"since before the issue":    {&tracking.Tracking{Since: start.Add(-time.Hour), Renewed: start.Add(30 * time.Minute)}, at(start)},
		"since after the issue":     {&tracking.Tracking{Since: start.Add(20 * time.Minute), Renewed: start.Add(29 * time.Minute)}, at(start.Add(20 * time.Minute))},
		"renewed long ago":          {&tracking.Tracking{Since: start.Add(-time.Hour), Renewed: start.Add(20 * time.Minute)}, nil},
		"renewed just within":       {&tracking.Tracking{Since: start.Add(-time.Hour), Renewed: start.Add(20*time.Minute + time.Second)}, at(start)},
		"renewed a little ahead":    {&tracking.Tracking{Since: start, Renewed: start.Add(31 * time.Minute)}, at(start)},
		"renewed in the far future": {&tracking.Tracking{Since: start, Renewed: start.Add(31*time.Minute + time.Second)}, nil},
		"since in the far future":   {&tracking.Tracking{Since: start.Add(time.Hour), Renewed: start.Add(30 * time.Minute)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, nil)
			advance(t, s, 30*time.Minute)
			s.Tracking = tc.tracking
			if got := Plan(s.Observation, s.Now).Status.TrackedSince; !got.Equal(tc.want) {
				t.Errorf("tracked since %v, want %v", got, tc.want)
			}
		})
	}
}

func TestTrackingThatLapsesIsNoticedByTimeAlone(t *testing.T) {
	s := newSimulation(t, nil)
	renewed := s.Now.Add(2 * time.Minute)
	s.Tracking = &tracking.Tracking{Since: s.Now, Renewed: renewed}
	settle(t, s)
	if s.Key.Status.TrackedSince != nil {
		t.Error("a Lease that is dated ahead by two minutes vouches for something")
	}
	for _, want := range []struct {
		at      time.Time
		tracked bool
	}{{renewed.Add(-time.Minute), true}, {renewed.Add(tracking.MaxTrackingGap), false}} {
		if wake := Plan(s.Observation, s.Now).Wake; !wake.Equal(want.at) {
			t.Fatalf("woken at %s, want %s", wake, want.at)
		}
		s.Now = want.at
		settle(t, s)
		if got := s.Key.Status.TrackedSince != nil; got != want.tracked {
			t.Errorf("at %s tracked: %v", want.at, got)
		}
	}
}
