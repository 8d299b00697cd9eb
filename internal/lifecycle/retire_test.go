// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

const (
	testOverlap, testQuiet, testMaxOverlap = 2 * time.Hour, time.Hour, 240 * time.Hour
	testLag, testResolution                = time.Minute, 10 * time.Minute
)

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// superseded returns a key with WhenUnused whose revision 1 was superseded at start + 1 h, while verifiers had been
// reporting since start.
func superseded(t *testing.T) *Simulation {
	t.Helper()
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) {
		spec.Rotation = &v1alpha1.Rotation{
			Retire:  v1alpha1.RetireWhenUnused,
			Overlap: duration(testOverlap), QuietPeriod: duration(testQuiet), MaxOverlap: duration(testMaxOverlap),
		}
	})
	s.Now = start.Add(time.Hour)
	s.vouch()
	s.Key.Spec.Rotation.RequestedAt = at(s.Now.Add(-time.Second))
	settle(t, s)
	return s
}

// vouch renews the Lease now.
func (s *Simulation) vouch() {
	if s.Tracking == nil {
		s.Tracking = &tracking.Tracking{Since: start, Lag: testLag}
	}
	renewed := *s.Tracking
	renewed.Renewed = s.Now
	s.Tracking = &renewed
}

// pass lets time go by with a Lease that is renewed every half minute.
func pass(t *testing.T, s *Simulation, by time.Duration) {
	t.Helper()
	for to := s.Now.Add(by); s.Now.Before(to); {
		advance(t, s, 30*time.Second)
		s.vouch()
		settle(t, s)
	}
}

func inUse(s *Simulation) *metav1.Condition {
	return apimeta.FindStatusCondition(s.Key.Status.Conditions, v1alpha1.PreviousRevisionInUseCondition)
}

func (s *Simulation) use(revision int64) {
	s.rev(revision).Status.LastUsedAt, s.rev(revision).Status.Resolution = at(s.Now), duration(testResolution)
}

func TestARevisionInUseHasItsHardEndAtOnce(t *testing.T) {
	s := superseded(t)
	want := s.rev(2).Spec.IssuedAt.Add(testMaxOverlap)
	if end := s.rev(1).Spec.NotAfter; end == nil || !end.Time.Equal(want) {
		t.Fatalf("revision 1 ends at %v, want %s", end, want)
	}
	// No verifier renews the Lease, and no instance plans.
	if verdict := standing.Admit(s.rev(1), want); verdict != standing.Ended {
		t.Errorf("at maxOverlap the verdict is %s", verdict)
	}
}

func TestAnUnusedRevisionIsRetiredOnceThatIsProven(t *testing.T) {
	s := superseded(t)
	overlapEnd := s.rev(2).Spec.IssuedAt.Add(testOverlap)
	pass(t, s, testOverlap+testLag-time.Minute)
	if standing.Admit(s.rev(1), overlapEnd) != standing.Admitted {
		t.Fatal("retired before the overlap ended")
	}
	if condition := inUse(s); condition == nil && !s.Now.Before(overlapEnd) {
		t.Error("nothing says that it lingers")
	}
	pass(t, s, 3*time.Minute)
	end := s.rev(1).Spec.NotAfter.Time
	if earliest, latest := overlapEnd.Add(testLag), overlapEnd.Add(2*testLag+time.Minute); end.Before(earliest) || end.After(latest) {
		t.Errorf("it ends at %s, want between %s and %s", end, earliest, latest)
	}
	if condition := inUse(s); condition != nil {
		t.Errorf("it still says: %s", condition.Message)
	}
	if standing.Admit(s.rev(2), s.Now) != standing.Admitted {
		t.Error("the key in use was retired")
	}
}

func TestAUseKeepsARevision(t *testing.T) {
	s := superseded(t)
	for range 20 {
		pass(t, s, 30*time.Minute)
		s.use(1)
		settle(t, s)
	}
	condition := inUse(s)
	if condition == nil || condition.Reason != v1alpha1.RecentlyUsedReason || !strings.Contains(condition.Message, "revision 1") || !strings.Contains(condition.Message, instant.Format(at(s.Now))) {
		t.Fatalf("the condition names neither revision nor time: %+v", condition)
	}
	events := Events(s.Observation, &v1alpha1.DGbotAPIKeyStatus{Conditions: []metav1.Condition{*condition}}, s.Now)
	if len(events) != 0 {
		t.Errorf("what was reported is reported again: %+v", events)
	}
	last := s.Now
	pass(t, s, testQuiet+testResolution)
	if standing.Admit(s.rev(1), s.Now) != standing.Admitted {
		t.Errorf("a use at %s no longer counts at %s", last, s.Now)
	}
	pass(t, s, 5*time.Minute)
	if standing.Admit(s.rev(1), s.Now) == standing.Admitted || inUse(s) != nil {
		t.Errorf("not used for %s, and not retired", s.Now.Sub(last))
	}
}

func TestWhatIsNotTrackedCountsAsInUse(t *testing.T) {
	s := superseded(t)
	s.Tracking = nil
	advance(t, s, 100*time.Hour)
	if condition := inUse(s); condition == nil || condition.Reason != v1alpha1.UsageUnknownReason {
		t.Fatalf("no verifier reports: %+v", condition)
	}
	// Tracking that begins now says nothing of the time before.
	s.Tracking = &tracking.Tracking{Since: s.Now, Lag: testLag}
	began := s.Now
	s.vouch()
	pass(t, s, testQuiet)
	if condition := inUse(s); standing.Admit(s.rev(1), s.Now) != standing.Admitted || condition == nil || condition.Reason != v1alpha1.UsageUnknownReason {
		t.Errorf("tracked for %s, and retired or silent: %+v", s.Now.Sub(began), condition)
	}
	pass(t, s, 4*time.Minute)
	if standing.Admit(s.rev(1), s.Now) == standing.Admitted {
		t.Error("unused for quietPeriod and not retired")
	}
}

func TestWhatWasProvenBeforeReportsEndedProvesNothing(t *testing.T) {
	s := superseded(t)
	s.Now = s.Now.Add(testOverlap + testLag + time.Minute)
	s.vouch()
	s.Now = s.Now.Add(tracking.MaxTrackingGap)
	settle(t, s)
	if condition := inUse(s); standing.Admit(s.rev(1), s.Now) != standing.Admitted || condition == nil || condition.Reason != v1alpha1.UsageUnknownReason {
		t.Errorf("no verifier reports any more, and it is retired: ends at %s, %+v", s.rev(1).Spec.NotAfter, condition)
	}
}

func TestAUseDatedAheadCountsAsInUse(t *testing.T) {
	s := superseded(t)
	s.rev(1).Status.LastUsedAt = at(s.Now.Add(50 * time.Hour))
	pass(t, s, 49*time.Hour)
	if standing.Admit(s.rev(1), s.Now) != standing.Admitted {
		t.Error("a revision whose use is dated ahead was retired")
	}
	pass(t, s, 3*time.Hour)
	if standing.Admit(s.rev(1), s.Now) == standing.Admitted {
		t.Error("the time of its use has come and gone, and it is not retired")
	}
}

func TestSwitchingBackEndsWhatLingers(t *testing.T) {
	s := superseded(t)
	for range 10 {
		pass(t, s, 30*time.Minute)
		s.use(1)
	}
	s.Key.Spec.Rotation.Retire = v1alpha1.RetireAfterOverlap
	settle(t, s)
	if want := s.rev(2).Spec.IssuedAt.Add(testOverlap); !s.rev(1).Spec.NotAfter.Time.Equal(want) || inUse(s) != nil {
		t.Errorf("it ends at %s, want %s; %v", s.rev(1).Spec.NotAfter, want, inUse(s))
	}
}

func TestWhenUnusedExtendsNothingThatRuns(t *testing.T) {
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) {
		spec.Rotation = &v1alpha1.Rotation{Overlap: duration(testOverlap)}
	})
	s.Now = s.Now.Add(time.Hour)
	s.Key.Spec.Rotation.RequestedAt = at(s.Now)
	settle(t, s)
	end := s.rev(1).Spec.NotAfter.DeepCopy()
	s.Key.Spec.Rotation.Retire, s.Key.Spec.Rotation.MaxOverlap = v1alpha1.RetireWhenUnused, duration(testMaxOverlap)
	settle(t, s)
	if got := s.rev(1).Spec.NotAfter; !got.Equal(end) {
		t.Errorf("the end moved from %s to %s", end, got)
	}
	if advance(t, s, testOverlap); inUse(s) != nil {
		t.Errorf("what has ended is said to be in use: %+v", inUse(s))
	}
}

func TestARevocationWaitsForNoReportOfAUse(t *testing.T) {
	s := superseded(t)
	s.rev(1).ResourceVersion = "7"
	versionOf := func(spec func()) (state v1alpha1.KeyState, version string) {
		spec()
		for _, step := range Plan(s.Observation, s.Now).Steps {
			if amend, ok := step.(steps.AmendRecord); ok && amend.Name == s.rev(1).Name {
				return amend.State, amend.Version
			}
		}
		t.Fatal("revision 1 is left as it is")
		return "", ""
	}
	// It is given another end each time.
	if _, version := versionOf(func() { s.Key.Spec.Rotation.MaxOverlap = duration(testMaxOverlap / 2) }); version != "7" {
		t.Errorf("the end depends on version %q", version)
	}
	if state, version := versionOf(func() { s.Key.Spec.State = v1alpha1.StateRevoked }); state != v1alpha1.StateRevoked || version != "" {
		t.Errorf("it becomes %q, which depends on version %q", state, version)
	}
}
