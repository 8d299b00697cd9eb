// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// newSimulation returns a key at rest after its first issue at start.
func newSimulation(t *testing.T, change func(*v1alpha1.DGbotAPIKeySpec)) *Simulation {
	t.Helper()
	key := testKey("a-uid")
	if change != nil {
		change(&key.Spec)
	}
	s := &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}}, Now: start}
	settle(t, s)
	return s
}

func settle(t *testing.T, s *Simulation) []steps.Step {
	t.Helper()
	steps, err := s.Settle()
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func advance(t *testing.T, s *Simulation, by time.Duration) []steps.Step {
	t.Helper()
	steps, err := s.Advance(s.Now.Add(by))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// issued are the causes of the revisions among the steps taken.
func issued(taken []steps.Step) string {
	var causes []string
	for _, step := range taken {
		if issue, ok := step.(steps.IssueRevision); ok {
			causes = append(causes, string(issue.Cause))
		}
	}
	return strings.Join(causes, " ")
}

func (s *Simulation) rev(revision int64) *v1alpha1.DGbotAPIKeyRecord {
	for i := range s.Records {
		if s.Records[i].Spec.Revision == revision {
			return &s.Records[i]
		}
	}
	return nil
}

func condition(s *Simulation, kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(s.Key.Status.Conditions, kind)
}

func wantReady(t *testing.T, s *Simulation, status metav1.ConditionStatus, reason string) {
	t.Helper()
	ready := condition(s, v1alpha1.ReadyCondition)
	if ready == nil || ready.Status != status || ready.Reason != reason {
		t.Errorf("Ready is %+v, want %s, %s", ready, status, reason)
	}
}

func rotation(r v1alpha1.Rotation) func(*v1alpha1.DGbotAPIKeySpec) {
	return func(spec *v1alpha1.DGbotAPIKeySpec) { spec.Rotation = &r }
}

func of(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func TestOverlapHasItsDefaults(t *testing.T) {
	for name, tc := range map[string]struct {
		rotation *v1alpha1.Rotation
		want     time.Duration
	}{
		"without rotation a day":                       {nil, 24 * time.Hour},
		"with a long interval a day":                   {&v1alpha1.Rotation{Interval: of(2160 * time.Hour)}, 24 * time.Hour},
		"with a short interval half of it":             {&v1alpha1.Rotation{Interval: of(time.Hour)}, 30 * time.Minute},
		"what is said counts":                          {&v1alpha1.Rotation{Interval: of(time.Hour), Overlap: of(time.Minute)}, time.Minute},
		"none is none":                                 {&v1alpha1.Rotation{Overlap: of(0)}, 0},
		"a fraction of a second counts as a whole one": {&v1alpha1.Rotation{Overlap: of(1500 * time.Millisecond)}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := effective.OverlapOf(&v1alpha1.DGbotAPIKeySpec{Rotation: tc.rotation}); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestTheScheduleIsSpreadWithinItsBounds(t *testing.T) {
	for _, interval := range []time.Duration{time.Minute, 61*time.Second + 500*time.Millisecond, time.Hour, 2160 * time.Hour, 399996 * time.Hour} {
		seen := map[time.Duration]bool{}
		for i := range 500 {
			uid := types.UID(fmt.Sprint("uid-", i))
			due := schedule.Due(uid, of(interval), *at(start))
			after := due.Sub(start)
			if after > interval || after <= interval*9/10 || after%time.Second != 0 {
				t.Fatalf("%s: due after %s", interval, after)
			}
			if !due.Equal(schedule.Due(uid, of(interval), *at(start))) {
				t.Fatal("two operators disagree")
			}
			seen[after] = true
		}
		if interval >= time.Hour && len(seen) < 100 {
			t.Errorf("%s: 500 keys rotate at only %d different times", interval, len(seen))
		}
	}
}

func TestRecordNamesAreNamesAndTellKeysApart(t *testing.T) {
	for name, tc := range map[string]struct{ key, want string }{
		"a short name stays":                      {"production-server", "production-server-cd16ab1c-r3"},
		"a long name is cut":                      {strings.Repeat("a", 253), strings.Repeat("a", 230) + "-cd16ab1c-r3"},
		"a cut name ends with a letter or number": {strings.Repeat("a", 228) + ".-" + strings.Repeat("b", 20), strings.Repeat("a", 228) + "-cd16ab1c-r3"},
	} {
		t.Run(name, func(t *testing.T) {
			got := revisions.RecordName(tc.key, "some-uid", 3)
			if len(got) != len(tc.want) || got[:len(got)-11] != tc.want[:len(tc.want)-11] {
				t.Errorf("got %s, want the form of %s", got, tc.want)
			}
			if got == revisions.RecordName(tc.key, "other-uid", 3) {
				t.Error("two keys of one name share a record name")
			}
		})
	}
}

func TestAJumpOverTenIntervalsIsOneRotation(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Interval: of(24 * time.Hour)}))
	s.Now = s.Now.Add(240 * time.Hour)
	if got := issued(settle(t, s)); got != "Schedule" {
		t.Errorf("issued %q", got)
	}
	s.Now = s.Now.Add(-240 * time.Hour)
	if steps := settle(t, s); len(steps) != 0 {
		t.Errorf("the clock set back caused %+v", steps)
	}
}

func TestARequestRotatesOnce(t *testing.T) {
	s := newSimulation(t, nil)
	request := at(start.Add(time.Hour))
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: request}
	if steps := settle(t, s); len(steps) != 0 || !s.Key.Status.NextRotationAt.Equal(request) {
		t.Errorf("a request in the future caused %+v, next rotation %s", steps, s.Key.Status.NextRotationAt)
	}
	if got := issued(advance(t, s, 2*time.Hour)); got != "Request" {
		t.Errorf("issued %q", got)
	}
	if r := s.rev(2); !r.Spec.IssuedAt.Time.Equal(request.Add(time.Second)) {
		t.Errorf("issued at %s: not just after the request at %s", r.Spec.IssuedAt, request)
	}
	if !s.Key.Status.LastHandledRequest.RotateRequestedAt.Equal(request) {
		t.Errorf("handled %+v", s.Key.Status.LastHandledRequest)
	}
	// The same through the annotation, in another zone.
	s.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: request.In(time.FixedZone("", 7200)).Format(time.RFC3339)}
	if steps := settle(t, s); len(steps) != 0 {
		t.Errorf("the same request caused %+v", steps)
	}
}

func TestAPlannedRequestDoesNotHoldBackADueOne(t *testing.T) {
	s := newSimulation(t, nil)
	s.Now = start.Add(time.Minute)
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(start.Add(30 * time.Second))}
	s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: "2027-01-01T00:00:00Z"}
	if got := issued(settle(t, s)); got != "Revocation" || s.rev(1).Spec.State != v1alpha1.StateRevoked {
		t.Errorf("issued %q, revision 1 is %s", got, s.rev(1).Spec.State)
	}
}

func TestUnreadableAnnotationsChangeNothing(t *testing.T) {
	for _, text := range []string{"", "now", "2026-11-23", "2026-11-23T10:00:00.5Z", "2026-11-23t10:00:00z", "9999-12-31T23:59:59-23:59", "9000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23 10:00:00Z"} {
		s := newSimulation(t, nil)
		s.Now = start.Add(time.Hour)
		s.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: text, v1alpha1.RevokeIssuedBeforeAnnotation: text}
		steps := settle(t, s)
		invalid := condition(s, v1alpha1.RequestInvalidCondition)
		if len(steps) != 0 || invalid == nil || !strings.Contains(invalid.Message, v1alpha1.RevokeIssuedBeforeAnnotation) {
			t.Errorf("%q: steps %+v, condition %+v", text, steps, invalid)
		}
		wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
		s.Key.Annotations = nil
		settle(t, s)
		if condition(s, v1alpha1.RequestInvalidCondition) != nil {
			t.Errorf("%q: the condition stays", text)
		}
	}
}

func TestRevocationPublishesBeforeItRevokes(t *testing.T) {
	s := newSimulation(t, nil)
	s.Now = start.Add(time.Hour)
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(s.Now)}
	planned := Plan(s.Observation, s.Now).Steps
	if len(planned) != 2 {
		t.Fatalf("got %+v", planned)
	}
	issue, ok := planned[0].(steps.IssueRevision)
	if !ok || !issue.IssuedAt.Time.Equal(s.Now.Add(time.Second)) {
		t.Errorf("the first step is %+v", planned[0])
	}
	if amend, ok := planned[1].(steps.AmendRecord); !ok || amend.State != v1alpha1.StateRevoked {
		t.Errorf("the second step, for when the first fails, is %+v", planned[1])
	}
	// Refused: revoked at once.
	s.Rejection = &report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "exceeded quota"}
	settle(t, s)
	if s.rev(1).Spec.State != v1alpha1.StateRevoked {
		t.Error("a refused replacement keeps a leaked key alive")
	}
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.SecretWriteRefusedReason)
}

func TestShorteningTheOverlapEndsSoonerAndLengtheningDoesNot(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(10 * time.Hour)}))
	s.Now = start.Add(time.Hour)
	s.Key.Spec.Rotation.RequestedAt = at(start.Add(time.Minute))
	settle(t, s)
	issuedAt := s.rev(2).Spec.IssuedAt.Time
	for _, tc := range []struct{ overlap, want time.Duration }{{10 * time.Hour, 10 * time.Hour}, {20 * time.Hour, 10 * time.Hour}, {2 * time.Hour, 2 * time.Hour}} {
		s.Key.Spec.Rotation.Overlap = of(tc.overlap)
		settle(t, s)
		if got := s.rev(1).Spec.NotAfter.Sub(issuedAt); got != tc.want {
			t.Errorf("with an overlap of %s the old revision ends after %s, want %s", tc.overlap, got, tc.want)
		}
	}
}

func TestTenEarlierRevisionsVerifyAtMost(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(100 * time.Hour)}))
	request := func() string {
		s.Now = s.Now.Add(time.Minute)
		s.Key.Spec.Rotation.RequestedAt = at(s.Now)
		return issued(settle(t, s))
	}
	for i := range 10 {
		if got := request(); got != "Request" {
			t.Fatalf("rotation %d: %q", i, got)
		}
	}
	if got := request(); got != "" {
		t.Fatalf("rotation 11 did not wait: %q", got)
	}
	wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
	if c := condition(s, v1alpha1.ReconcilingCondition); c == nil || c.Reason != v1alpha1.WaitingForOverlapReason {
		t.Errorf("Reconciling is %+v", c)
	}
	s.Secret = revisions.Secret{State: revisions.SecretAbsent}
	s.Key.Spec.Rotation.RequestedAt = nil
	if got := issued(settle(t, s)); got != "SecretLost" {
		t.Fatalf("a lost Secret waits: %q", got)
	}
	if s.Now = s.Now.Add(time.Second); standing.Admit(s.rev(1), s.Now) != standing.Ended || standing.Admit(s.rev(2), s.Now) != standing.Admitted {
		t.Errorf("not the oldest was ended: %s, %s", standing.Admit(s.rev(1), s.Now), standing.Admit(s.rev(2), s.Now))
	}
}

func TestLossIsDampedAfterTwentyWithinAnHour(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Hour} {
		s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(overlap)}))
		lose := func() string {
			s.Secret = revisions.Secret{State: revisions.SecretAbsent}
			return issued(settle(t, s))
		}
		for i := range 20 {
			s.Now = s.Now.Add(time.Second)
			if got := lose(); got != "SecretLost" {
				t.Fatalf("overlap %s, replacement %d: %q", overlap, i+1, got)
			}
		}
		last := s.Now
		s.Now = s.Now.Add(time.Second)
		if got := lose(); got != "" {
			t.Fatalf("overlap %s: replacement 21 was not damped: %q", overlap, got)
		}
		wantReady(t, s, metav1.ConditionFalse, v1alpha1.SecretLossDampedReason)
		if !s.Key.Status.NextRotationAt.Time.Equal(last.Add(5*time.Minute)) || condition(s, v1alpha1.StalledCondition) != nil {
			t.Errorf("next %s, conditions %+v", s.Key.Status.NextRotationAt, s.Key.Status.Conditions)
		}
		if got := issued(advance(t, s, 5*time.Minute)); got != "SecretLost" {
			t.Errorf("overlap %s: after five minutes: %q", overlap, got)
		}
		s.Now = s.Now.Add(time.Second)
		lose()
		s.Key.Spec.Rotation.RequestedAt = at(s.Now)
		if got := issued(settle(t, s)); got != "Request" {
			t.Errorf("overlap %s: another cause was damped: %q", overlap, got)
		}
		// An hour later all is forgotten, and no more records are kept than promised: one of them has the note of a withdrawal that is pending.
		advance(t, s, 2*time.Hour)
		if len(s.Records) > changes.KeptEnded+2 {
			t.Errorf("overlap %s: %d records are left", overlap, len(s.Records))
		}
		if got := lose(); got != "SecretLost" {
			t.Errorf("overlap %s: an hour later: %q", overlap, got)
		}
	}
}
