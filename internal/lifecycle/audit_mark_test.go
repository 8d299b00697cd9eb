// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// TestPlan_NotesTheAuditBeforeItWithdrawsEarlierRevisions: the write of the mark may fail. Then no other record may have been withdrawn.
func TestPlan_NotesTheAuditBeforeItWithdrawsEarlierRevisions(t *testing.T) {
	for stage, state := range map[v1alpha1.AuditStage]v1alpha1.KeyState{
		v1alpha1.AuditDisabled: v1alpha1.StateDisabled,
		v1alpha1.AuditRevoked:  v1alpha1.StateRevoked,
	} {
		t.Run(string(stage), func(t *testing.T) {
			a := newAudited(t)
			a.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(300 * day), RequestedAt: at(a.Now.Add(time.Hour))}
			a.after(day)
			if stage == v1alpha1.AuditRevoked {
				a.after(122 * day)
				a.expect(v1alpha1.AuditDisabled)
			}
			var decision Decision
			for decision = Plan(a.Observation, a.Now); len(decision.Steps) == 0; decision = Plan(a.Observation, a.Now) {
				a.Now = a.Now.Add(time.Hour)
				a.renew()
				if decision.Status != nil {
					a.Key.Status = *decision.Status
				}
			}
			if len(decision.Steps) != 1 {
				t.Fatalf("the first steps are %+v, want one", decision.Steps)
			}
			if mark, ok := decision.Steps[0].(steps.AmendRecord); !ok || mark.Audit == nil || mark.State != state || mark.Name != a.Records[1].Name {
				t.Errorf("the first step is %+v, want the mark on the newest record", decision.Steps[0])
			}
			if taken := a.after(0); len(taken) != 2 || a.Records[0].Spec.State != state || a.Records[1].Spec.State != state {
				t.Errorf("after %+v the records are %s and %s", taken, a.Records[0].Spec.State, a.Records[1].Spec.State)
			}
			a.expect(stage)
		})
	}
}

// TestPlan_EnablesNothingWhereTheRecordWithTheMarkIsGone: the status still has the mark, and no earlier revision is accepted in between.
func TestPlan_EnablesNothingWhereTheRecordWithTheMarkIsGone(t *testing.T) {
	a := newAudited(t)
	for i := range 2 {
		a.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(300 * day), RequestedAt: at(a.Now.Add(time.Hour))}
		a.after(time.Duration(i+1) * day)
	}
	a.after(122 * day)
	a.expect(v1alpha1.AuditDisabled)
	a.Records = a.Records[:2]
	for _, step := range a.after(0) {
		if amend, ok := step.(steps.AmendRecord); ok && amend.State == v1alpha1.StateActive {
			t.Errorf("the step %+v", step)
		}
	}
}

// TestPlan_FinishesAnAuditsRevocationOfAKeptKey: a write failed after the mark was noted, and a user keeps the key. What the mark has revoked
// stays revoked.
func TestPlan_FinishesAnAuditsRevocationOfAKeptKey(t *testing.T) {
	a := newAudited(t)
	a.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(300 * day), RequestedAt: at(a.Now.Add(time.Hour))}
	a.after(day)
	a.after(122 * day)
	a.expect(v1alpha1.AuditDisabled)
	for revoked := false; !revoked; {
		a.Now = a.Now.Add(time.Hour)
		a.renew()
		for _, step := range Plan(a.Observation, a.Now).Steps {
			if amend, ok := step.(steps.AmendRecord); ok && amend.State == v1alpha1.StateRevoked {
				a.Apply(amend)
				revoked = true
			}
		}
	}
	if earlier := a.Records[0].Spec.State; earlier != v1alpha1.StateDisabled {
		t.Fatalf("the earlier record is %s", earlier)
	}
	a.keep(a.Now.Add(time.Second))
	a.after(time.Hour)
	if earlier := a.Records[0].Spec.State; earlier != v1alpha1.StateRevoked {
		t.Errorf("the earlier record is %s after the key was kept", earlier)
	}
}
