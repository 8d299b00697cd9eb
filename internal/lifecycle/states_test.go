// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

func TestStatesAreThoseOfTheContract(t *testing.T) {
	for name, tc := range map[string]struct {
		change     func(*Simulation)
		reason     string
		record     v1alpha1.KeyState
		backIssues string
	}{
		"Disabled keeps the key and brings it back": {
			func(s *Simulation) { s.Key.Spec.State = v1alpha1.StateDisabled }, v1alpha1.DisabledReason, v1alpha1.StateDisabled, "",
		},
		"Revoked ends it; Active issues anew": {
			func(s *Simulation) { s.Key.Spec.State = v1alpha1.StateRevoked }, v1alpha1.RevokedReason, v1alpha1.StateRevoked, "Reactivation",
		},
		"Expired leaves the records as they are": {
			func(s *Simulation) { s.Key.Spec.ExpiresAt = at(start.Add(time.Minute)) }, v1alpha1.ExpiredReason, v1alpha1.StateActive, "ExpiryChanged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, nil)
			s.Now = start.Add(time.Hour)
			tc.change(s)
			bytes := s.Secret.Hash
			if got := issued(settle(t, s)); got != "" {
				t.Errorf("issued %q", got)
			}
			wantReady(t, s, metav1.ConditionFalse, tc.reason)
			if c := condition(s, v1alpha1.StalledCondition); c == nil || c.Reason != tc.reason {
				t.Errorf("Stalled is %+v", c)
			}
			if s.rev(1).Spec.State != tc.record || s.Secret.Hash != bytes {
				t.Errorf("the record is %s", s.rev(1).Spec.State)
			}
			// Nothing is replaced, requests wait.
			s.Secret = revisions.Secret{State: revisions.SecretAbsent}
			s.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(s.Now.Add(-time.Minute))}
			if s.Key.Spec.ExpiresAt == nil || s.Key.Spec.ExpiresAt.After(s.Key.Spec.Rotation.RequestedAt.Time) {
				if got := issued(settle(t, s)); got != "" {
					t.Errorf("a lost Secret and a request issued %q", got)
				}
			}
			s.Secret, s.Key.Spec.Rotation = revisions.Secret{State: revisions.SecretOwned, Hash: bytes}, nil
			s.Key.Spec.State, s.Key.Spec.ExpiresAt = v1alpha1.StateActive, nil
			if got := issued(settle(t, s)); got != tc.backIssues {
				t.Errorf("going back issued %q, want %q", got, tc.backIssues)
			}
			wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
			if tc.record == v1alpha1.StateRevoked && s.rev(1).Spec.State != v1alpha1.StateRevoked {
				t.Error("a revoked revision was revived")
			}
		})
	}
}

func TestDisabledStillRevokes(t *testing.T) {
	s := newSimulation(t, nil)
	s.Now = start.Add(time.Hour)
	s.Key.Spec.State = v1alpha1.StateDisabled
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(s.Now)}
	if got := issued(settle(t, s)); got != "" || s.rev(1).Spec.State != v1alpha1.StateRevoked {
		t.Errorf("issued %q, the record is %s", got, s.rev(1).Spec.State)
	}
	s.Key.Spec.State = v1alpha1.StateActive
	if got := issued(settle(t, s)); got != "Revocation" {
		t.Errorf("Active again issued %q", got)
	}
}

func TestDeletionRevokesEverythingWhateverTheState(t *testing.T) {
	for _, state := range []v1alpha1.KeyState{v1alpha1.StateActive, v1alpha1.StateDisabled} {
		s := newSimulation(t, nil)
		s.Key.Spec.State = state
		s.Key.DeletionTimestamp = at(s.Now)
		s.Secret = revisions.Secret{State: revisions.SecretAbsent}
		steps := settle(t, s)
		if issued(steps) != "" || s.rev(1).Spec.State != v1alpha1.StateRevoked || Plan(s.Observation, s.Now).Status != nil {
			t.Errorf("%s: %+v, record %s", state, steps, s.rev(1).Spec.State)
		}
	}
}

func TestExpiryFollowsTheSpecAndNeverMovesLater(t *testing.T) {
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) { spec.ExpiresAt = at(start.Add(10 * time.Hour)) })
	s.Key.Spec.ExpiresAt = at(start.Add(5 * time.Hour))
	if got := issued(settle(t, s)); got != "" || !s.rev(1).Spec.NotAfter.Equal(s.Key.Spec.ExpiresAt) {
		t.Errorf("earlier: issued %q, ends %s", got, s.rev(1).Spec.NotAfter)
	}
	s.Key.Spec.ExpiresAt = at(start.Add(8 * time.Hour))
	if got := issued(settle(t, s)); got != "ExpiryChanged" || !s.rev(2).Spec.NotAfter.Equal(s.Key.Spec.ExpiresAt) {
		t.Errorf("later: issued %q, ends %s", got, s.rev(2).Spec.NotAfter)
	}
	s.Key.Spec.Rotation = &v1alpha1.Rotation{Interval: of(8 * time.Hour)}
	settle(t, s)
	if next := s.Key.Status.NextRotationAt; next == nil || !next.Before(s.Key.Spec.ExpiresAt) {
		t.Errorf("next rotation %s", next)
	}
	steps := advance(t, s, 100*time.Hour)
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.ExpiredReason)
	if issued(steps) != "Schedule" {
		t.Errorf("until its end the key was issued for %q", issued(steps))
	}
}

func TestWhatStandsInTheWayIsReported(t *testing.T) {
	for name, tc := range map[string]struct {
		secret  revisions.Secret
		refusal *report.Rejection
		reason  string
		stalled bool
	}{
		"another object's Secret": {revisions.Secret{State: revisions.SecretForeign}, nil, v1alpha1.SecretConflictReason, true},
		"a dead key's Secret":     {revisions.Secret{State: revisions.SecretCollectable}, nil, v1alpha1.WaitingForGarbageCollectionReason, false},
		"a refused Secret":        {revisions.Secret{State: revisions.SecretAbsent}, &report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "no"}, v1alpha1.SecretWriteRefusedReason, true},
		"a taken record name":     {revisions.Secret{State: revisions.SecretAbsent}, &report.Rejection{Reason: v1alpha1.RecordConflictReason, Message: "no"}, v1alpha1.RecordConflictReason, true},
		"a free Secret":           {revisions.Secret{State: revisions.SecretUnowned, Hash: "sha256:x"}, nil, v1alpha1.IssuedReason, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Simulation{Observation: Observation{Key: testKey("a-uid"), Secret: tc.secret, Rejection: tc.refusal}, Now: start}
			steps := settle(t, s)
			ready := metav1.ConditionFalse
			if tc.reason == v1alpha1.IssuedReason {
				ready = metav1.ConditionTrue
			} else if len(steps) != 0 {
				t.Errorf("took %+v", steps)
			}
			wantReady(t, s, ready, tc.reason)
			stalled, reconciling := condition(s, v1alpha1.StalledCondition), condition(s, v1alpha1.ReconcilingCondition)
			if (stalled != nil) != tc.stalled || (reconciling != nil) != (ready == metav1.ConditionFalse && !tc.stalled) {
				t.Errorf("Stalled %+v, Reconciling %+v", stalled, reconciling)
			}
		})
	}
}

// TestPlan_SecretWithAnotherOwner: that a Secret waits for garbage collection is reported for a minute, and longer only if nothing else can
// keep the Secret.
func TestPlan_SecretWithAnotherOwner(t *testing.T) {
	for name, test := range map[string]struct {
		otherOwner bool
		want       string
	}{
		"the owner that is gone": {false, v1alpha1.WaitingForGarbageCollectionReason},
		"another owner as well":  {true, v1alpha1.SecretConflictReason},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Simulation{Observation: Observation{Key: testKey("a-uid"), Secret: revisions.Secret{State: revisions.SecretCollectable, OtherOwner: test.otherOwner}}, Now: start}
			for after, want := range []string{v1alpha1.WaitingForGarbageCollectionReason, test.want, test.want} {
				settle(t, s)
				wantReady(t, s, metav1.ConditionFalse, want)
				if stalled := condition(s, v1alpha1.StalledCondition); (stalled != nil) != (want == v1alpha1.SecretConflictReason) {
					t.Errorf("after %d minutes: Stalled %+v", after, stalled)
				}
				s.Now = s.Now.Add(time.Minute)
			}
		})
	}
}

func TestARefusedWriteIsTriedLessAndLess(t *testing.T) {
	s := &Simulation{Observation: Observation{
		Key: testKey("a-uid"), Secret: revisions.Secret{State: revisions.SecretAbsent}, Rejection: &report.Rejection{Reason: v1alpha1.SecretWriteRefusedReason, Message: "no"},
	}, Now: start}
	waits := make([]time.Duration, 0, 9)
	for range 9 {
		settle(t, s)
		wake := Plan(s.Observation, s.Now).Wake
		waits = append(waits, wake.Sub(s.Now))
		s.Now = wake
	}
	if waits[0] != 5*time.Second || waits[8] != 5*time.Minute || !slices.IsSorted(waits) {
		t.Errorf("waits %v", waits)
	}
}

func TestAnUnpublishedRecordExpiresWhenNoInstanceCanPublishIt(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
	s.Records = append(s.Records, s.CreateRecord(steps.IssueRevision{Revision: 2, RecordName: "r2", Cause: v1alpha1.CauseRequest, IssuedAt: *at(start)}))
	if steps := settle(t, s); len(steps) != 0 {
		t.Errorf("another operator may be about to publish it: %+v", steps)
	}
	advance(t, s, 30*time.Second)
	if end := s.rev(2).Spec.NotAfter; end == nil || !end.Time.Equal(start.Add(time.Hour)) {
		t.Errorf("it ends %s", end)
	}
	wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
	if s.rev(1).Spec.NotAfter != nil {
		t.Error("the revision in use was ended")
	}
}

func TestARequestSurvivesACrashBeforePublishing(t *testing.T) {
	s := newSimulation(t, nil)
	s.Now = start.Add(time.Hour)
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(s.Now)}
	step, ok := Plan(s.Observation, s.Now).Steps[0].(steps.IssueRevision)
	if !ok {
		t.Fatal("no revision is due")
	}
	s.Records = append(s.Records, s.CreateRecord(step))
	if got := issued(settle(t, s)); got != "Request" || s.Key.Status.Current.Revision != 3 {
		t.Errorf("issued %q, current %+v", got, s.Key.Status.Current)
	}
	if s.rev(2).Spec.NotAfter == nil || s.rev(2).Spec.State != v1alpha1.StateActive {
		t.Errorf("the unpublished revision is %+v", s.rev(2).Spec)
	}
}

func TestOrphanedRecordsAreDeadAndTheirNumbersStayTaken(t *testing.T) {
	s := newSimulation(t, nil)
	s.Records[0].OwnerReferences = nil
	if standing.Admit(&s.Records[0], s.Now) != standing.Orphaned {
		t.Error("an orphaned record admits its key")
	}
	if got := issued(settle(t, s)); got != "RecordLost" || s.Key.Status.Current.Revision != 2 {
		t.Errorf("issued %q, current %+v", got, s.Key.Status.Current)
	}
}

func TestAdmitRefusesFromTheInstantOfNotAfter(t *testing.T) {
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) { spec.ExpiresAt = at(start.Add(time.Hour)) })
	end := start.Add(time.Hour)
	if got := standing.Admit(s.rev(1), end.Add(-time.Nanosecond)); got != standing.Admitted {
		t.Errorf("just before: %s", got)
	}
	if got := standing.Admit(s.rev(1), end); got != standing.Ended {
		t.Errorf("at the instant: %s", got)
	}
}
