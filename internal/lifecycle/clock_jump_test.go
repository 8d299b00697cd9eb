// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// afterClockJump returns a key with a revision from before, and one that was issued at the start of a moment in which the operator's
// clock was a year ahead. The API server's clock, which dates records, was right.
func afterClockJump(t *testing.T, change func(*v1alpha1.DGbotAPIKeySpec)) *Simulation {
	t.Helper()
	s := newSimulation(t, change)
	settle(t, s)
	advance(t, s, time.Hour)
	right := s.Now
	s.Now = right.Add(365 * day)
	s.ask(v1alpha1.RotateRequestedAtAnnotation)
	settle(t, s)
	s.Now = right
	delete(s.Key.Annotations, v1alpha1.RotateRequestedAtAnnotation)
	s.rev(2).CreationTimestamp = *at(right)
	if !s.rev(2).Spec.IssuedAt.After(right.Add(364 * day)) {
		t.Fatalf("issued at %s", s.rev(2).Spec.IssuedAt)
	}
	return s
}

// TestPlan_RevokesARevisionFromAClockJump: a leaked key is revoked by a request for now, and the request counts as handled only then.
func TestPlan_RevokesARevisionFromAClockJump(t *testing.T) {
	s := afterClockJump(t, nil)
	settle(t, s)
	s.Now = s.Now.Add(time.Minute)
	asked := s.Now
	s.ask(v1alpha1.RevokeIssuedBeforeAnnotation)
	if handled := Plan(s.Observation, s.Now).Status.LastHandledRequest; handled != nil && handled.RevokeIssuedBefore != nil {
		t.Errorf("handled before anything was revoked: %s", handled.RevokeIssuedBefore)
	}
	if steps := settle(t, s); issued(steps) != "Revocation" {
		t.Errorf("issued %q, want Revocation", issued(steps))
	}
	for _, revision := range []int64{1, 2} {
		if got := s.rev(revision).Spec.State; got != v1alpha1.StateRevoked {
			t.Errorf("revision %d is %s", revision, got)
		}
	}
	if handled := s.Key.Status.LastHandledRequest; handled == nil || !handled.RevokeIssuedBefore.Time.Equal(asked) {
		t.Errorf("handled: %+v", handled)
	}
	wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
	if steps := advance(t, s, time.Hour); issued(steps) != "" {
		t.Errorf("and then issued %q", issued(steps))
	}
}

// TestPlan_FollowsTheTimesOfTheAPIServerAfterAClockJump: the overlap of the earlier revision, requests, schedule and lifetime.
func TestPlan_FollowsTheTimesOfTheAPIServerAfterAClockJump(t *testing.T) {
	s := afterClockJump(t, func(k *v1alpha1.DGbotAPIKeySpec) {
		k.Rotation = &v1alpha1.Rotation{Interval: lasts(10 * day), Overlap: lasts(time.Hour)}
	})
	created := s.rev(2).CreationTimestamp
	settle(t, s)
	if end := s.rev(1).Spec.NotAfter; end == nil || !end.Time.Equal(created.Add(time.Hour)) {
		t.Errorf("revision 1 ends at %s, want an hour after %s", end, created)
	}
	if current := s.Key.Status.Current; !current.IssuedAt.Equal(&created) {
		t.Errorf("status.current.issuedAt is %s", current.IssuedAt)
	}
	if next := s.Key.Status.NextRotationAt; next == nil || next.After(created.Add(10*day)) {
		t.Errorf("the next rotation is at %s", next)
	}
	s.Now = s.Now.Add(time.Minute)
	s.ask(v1alpha1.RotateRequestedAtAnnotation)
	if steps := settle(t, s); issued(steps) != "Request" {
		t.Errorf("a request issues %q", issued(steps))
	}
	s = afterClockJump(t, nil)
	s.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{MaxLifetime: lasts(30 * day)}
	s.rev(2).Spec.NotAfter = at(s.rev(2).Spec.IssuedAt.Add(30 * day))
	settle(t, s)
	if end := s.rev(2).Spec.NotAfter; end.After(s.rev(2).CreationTimestamp.Add(30 * day)) {
		t.Errorf("revision 2 ends at %s, and may live for 30 days", end)
	}
}

// TestPlan_RevokesWhateverTimeARequestHas: a jump of any length, a request at any time after the creation of the record, read at any time
// after that, also when the time that the record says has come meanwhile.
func TestPlan_RevokesWhateverTimeARequestHas(t *testing.T) {
	for _, jump := range []time.Duration{70 * time.Second, 90 * time.Second, 10 * time.Minute, 365 * day} {
		for _, asked := range []time.Duration{time.Second, 43 * time.Second, 69 * time.Second, 9*time.Minute + 30*time.Second, time.Hour} {
			for _, late := range []time.Duration{0, time.Minute, 2 * time.Hour} {
				s := newSimulation(t, nil)
				s.IsServerTime = true
				right := s.Now
				s.Now = right.Add(jump)
				settle(t, s)
				s.rev(1).CreationTimestamp = *at(right)
				s.Now = right.Add(asked)
				s.ask(v1alpha1.RevokeIssuedBeforeAnnotation)
				s.Now = s.Now.Add(late)
				if steps := settle(t, s); issued(steps) != "Revocation" {
					t.Errorf("jump of %s, asked after %s, read %s later: issued %q", jump, asked, late, issued(steps))
				}
				if got := s.rev(1).Spec.State; got != v1alpha1.StateRevoked {
					t.Errorf("jump of %s, asked after %s, read %s later: revision 1 is %s", jump, asked, late, got)
				}
			}
		}
	}
}

// TestPlan_AClockThatIsAheadForGoodIssuesOnce: the revision satisfies its request by the clock that found it due.
func TestPlan_AClockThatIsAheadForGoodIssuesOnce(t *testing.T) {
	s := newSimulation(t, nil)
	settle(t, s)
	advance(t, s, time.Hour)
	s.ask(v1alpha1.RotateRequestedAtAnnotation)
	settle(t, s)
	for i := range s.Records {
		s.Records[i].CreationTimestamp = *at(s.Records[i].Spec.IssuedAt.Add(-time.Hour))
	}
	if steps := advance(t, s, time.Minute); issued(steps) != "" {
		t.Errorf("issued %q", issued(steps))
	}
}

// TestPlan_RevokesADoubtfulRevisionOnce: whether the operator's clock or that of the API server is right is not known, and the time of the
// revision has come by both. A request from between the two times covers it, and no revision that is issued for that request.
func TestPlan_RevokesADoubtfulRevisionOnce(t *testing.T) {
	s := newSimulation(t, nil)
	created := func() {
		for i := range s.Records {
			s.Records[i].CreationTimestamp = *at(s.Records[i].Spec.IssuedAt.Add(-time.Hour))
		}
	}
	created()
	s.IsDisputed = true
	asked := start.Add(-time.Minute)
	metav1.SetMetaDataAnnotation(&s.Key.ObjectMeta, v1alpha1.RevokeIssuedBeforeAnnotation, asked.Format(time.RFC3339))
	s.Now = start.Add(5 * time.Minute)
	if handled := Plan(s.Observation, s.Now).Status.LastHandledRequest; handled != nil {
		t.Errorf("handled before anything was revoked: %s", handled.RevokeIssuedBefore)
	}
	if taken := settle(t, s); issued(taken) != "Revocation" {
		t.Errorf("issued %q, want Revocation", issued(taken))
	}
	created()
	if taken := advance(t, s, 2*time.Hour); issued(taken) != "" {
		t.Errorf("and then issued %q", issued(taken))
	}
	if first, second := s.rev(1).Spec.State, s.rev(2).Spec.State; first != v1alpha1.StateRevoked || second != v1alpha1.StateActive {
		t.Errorf("revision 1 is %s and revision 2 is %s", first, second)
	}
	if handled := s.Key.Status.LastHandledRequest; handled == nil || !handled.RevokeIssuedBefore.Time.Equal(asked) {
		t.Errorf("handled: %+v", handled)
	}
}
