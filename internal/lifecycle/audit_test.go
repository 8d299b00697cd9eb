// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestTheStagesOfTheAudit(t *testing.T) {
	a := newAudited(t)
	a.after(90 * day)
	a.expect("")
	a.after(time.Hour)
	a.expect(v1alpha1.AuditUnused)
	next := a.Key.Status.Audit.NextStageAt
	if due := start.Add(120 * day); next == nil || next.Time.Before(due) || next.After(due.Add(time.Hour)) {
		t.Errorf("disabled at %s, want %s", next, due)
	}
	a.after(29 * day)
	a.expect(v1alpha1.AuditUnused)
	a.after(2 * day)
	a.expect(v1alpha1.AuditDisabled)
	a.after(58 * day)
	a.expect(v1alpha1.AuditDisabled)
	a.after(3 * day)
	a.expect(v1alpha1.AuditRevoked)
	if steps := a.after(200 * day); len(steps) > 0 {
		t.Errorf("after the key was revoked: %+v", steps)
	}
}

func TestAUseEndsTheWarning(t *testing.T) {
	a := newAudited(t)
	a.after(100 * day)
	a.expect(v1alpha1.AuditUnused)
	a.use()
	a.expect("")
	a.after(90 * day)
	a.expect("")
	a.after(time.Hour)
	a.expect(v1alpha1.AuditUnused)
}

// TestALateReportEnablesTheKey: a use before the key was disabled is reported afterwards.
func TestALateReportEnablesTheKey(t *testing.T) {
	a := newAudited(t)
	a.after(121 * day)
	a.expect(v1alpha1.AuditDisabled)
	used := a.Now.Add(-2 * day)
	a.Records[0].Status.LastUsedAt, a.Records[0].Status.Resolution = at(used), duration(testResolution)
	a.after(0)
	a.expect("")
	a.after(88*day + time.Hour)
	a.expect(v1alpha1.AuditUnused)
	if since := a.Key.Status.Audit.UnusedSince; !since.Equal(at(used)) {
		t.Errorf("unused since %s, want %s", since, used)
	}
}

// TestAGapInTheReports takes the warning back, because a use may have been missed, and enables nothing.
func TestAGapInTheReports(t *testing.T) {
	gap := func(a *audited) {
		a.silent = true
		a.after(time.Hour)
		a.silent = false
		a.after(0)
	}
	t.Run("of a key that is warned of", func(t *testing.T) {
		a := newAudited(t)
		a.after(119 * day)
		a.expect(v1alpha1.AuditUnused)
		gap(a)
		a.expect("")
		a.after(90*day + time.Hour)
		a.expect(v1alpha1.AuditUnused)
	})
	t.Run("of a key that is disabled", func(t *testing.T) {
		a := newAudited(t)
		a.after(121 * day)
		a.expect(v1alpha1.AuditDisabled)
		a.after(58 * day)
		gap(a)
		a.expect(v1alpha1.AuditDisabled)
		a.after(10 * day)
		a.expect(v1alpha1.AuditDisabled)
		a.after(51 * day)
		a.expect(v1alpha1.AuditRevoked)
	})
}

func TestNothingIsDoneWithoutReports(t *testing.T) {
	a := newAudited(t)
	a.after(100 * day)
	a.silent = true
	a.after(400 * day)
	a.expect("")

	a = newAudited(t)
	a.after(121 * day)
	a.silent = true
	a.after(400 * day)
	a.expect(v1alpha1.AuditDisabled)
}

// TestAnAuditThatFindsKeysUnusedForLong warns of them first, and gives each stage its time.
func TestAnAuditThatFindsKeysUnusedForLong(t *testing.T) {
	a := newAudited(t)
	rules := a.Environment.Rules.Audit
	a.Environment.Rules.Audit = nil
	a.after(500 * day)
	a.expect("")
	if a.Key.Status.Audit != nil {
		t.Errorf("without an audit: %+v", a.Key.Status.Audit)
	}
	a.Environment.Rules.Audit = rules
	a.after(0)
	a.expect(v1alpha1.AuditUnused)
	a.after(29 * day)
	a.expect(v1alpha1.AuditUnused)
	a.after(2 * day)
	a.expect(v1alpha1.AuditDisabled)
	a.after(57 * day)
	a.expect(v1alpha1.AuditDisabled)
	a.after(4 * day)
	a.expect(v1alpha1.AuditRevoked)
}

func TestAKeyThatIsKept(t *testing.T) {
	t.Run("while it is warned of", func(t *testing.T) {
		a := newAudited(t)
		a.after(100 * day)
		a.keep(a.Now)
		a.expect("")
		a.after(90*day + time.Hour)
		a.expect(v1alpha1.AuditUnused)
	})
	t.Run("while it is disabled", func(t *testing.T) {
		a := newAudited(t)
		a.after(130 * day)
		a.expect(v1alpha1.AuditDisabled)
		a.keep(a.Now)
		a.expect("")
		if len(a.Records) != 1 || len(a.Records[0].Annotations) != 0 {
			t.Errorf("the record of the key: %+v", a.Records)
		}
		a.after(90*day + time.Hour)
		a.expect(v1alpha1.AuditUnused)
	})
	t.Run("after it was revoked", func(t *testing.T) {
		a := newAudited(t)
		a.after(190 * day)
		a.expect(v1alpha1.AuditRevoked)
		a.keep(a.Key.Status.Audit.Since.Add(-time.Second))
		a.expect(v1alpha1.AuditRevoked)
		a.keep(a.Key.Status.Audit.Since.Time)
		a.expect("")
		if n := len(a.Records); n != 2 || a.Records[1].Spec.Cause != v1alpha1.CauseReactivation || a.Records[0].Spec.State != v1alpha1.StateRevoked {
			t.Errorf("the records: %+v", a.Records)
		}
		delete(a.Key.Annotations, v1alpha1.KeptAtAnnotation)
		a.after(day)
		a.expect("")
	})
	t.Run("in the future", func(t *testing.T) {
		a := newAudited(t)
		a.after(100 * day)
		a.keep(a.Now.Add(5 * day))
		a.expect(v1alpha1.AuditUnused)
		a.after(6 * day)
		a.expect("")
		a.after(90 * day)
		a.expect(v1alpha1.AuditUnused)
	})
	t.Run("at a time that cannot be read", func(t *testing.T) {
		a := newAudited(t)
		a.after(100 * day)
		metav1.SetMetaDataAnnotation(&a.Key.ObjectMeta, v1alpha1.KeptAtAnnotation, "tomorrow")
		a.after(0)
		a.expect(v1alpha1.AuditUnused)
		if invalid := apimeta.FindStatusCondition(a.Key.Status.Conditions, v1alpha1.RequestInvalidCondition); invalid == nil || !strings.Contains(invalid.Message, v1alpha1.KeptAtAnnotation) {
			t.Errorf("condition RequestInvalid: %+v", invalid)
		}
	})
}

func TestAnExemption(t *testing.T) {
	a := newAudited(t)
	a.after(130 * day)
	a.expect(v1alpha1.AuditDisabled)
	until := at(a.Now.Add(300 * day))
	a.rules().Exemptions = []v1alpha1.AuditExemption{
		{Name: a.Key.Name, Namespace: "another", Until: until},
		{Name: a.Key.Name, Namespace: a.Key.Namespace, Until: until},
	}
	a.after(299 * day)
	a.expect("")
	a.after(2 * day)
	a.expect(v1alpha1.AuditUnused)
	a.after(31 * day)
	a.expect(v1alpha1.AuditDisabled)

	a.rules().Exemptions = nil
	a.after(61 * day)
	a.expect(v1alpha1.AuditRevoked)
	a.rules().Exemptions = []v1alpha1.AuditExemption{{Name: a.Key.Name, Namespace: a.Key.Namespace, Until: at(a.Now.Add(day))}}
	a.after(0)
	a.expect(v1alpha1.AuditRevoked)
}

// TestOtherRulesOfTheAudit: what is disabled by a rule is enabled when that is taken away or asks for more time, and is warned of
// again before it is disabled again. What is revoked stays so.
func TestOtherRulesOfTheAudit(t *testing.T) {
	for name, change := range map[string]func(*audited){
		"no environment":    func(a *audited) { a.Environment.Rules = nil },
		"no audit":          func(a *audited) { a.Environment.Rules.Audit = nil },
		"no disableAfter":   func(a *audited) { a.rules().DisableAfter, a.rules().RevokeAfter = nil, nil },
		"more disableAfter": func(a *audited) { a.rules().DisableAfter = lasts(150 * day) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAudited(t)
			a.after(140 * day)
			a.expect(v1alpha1.AuditDisabled)
			change(a)
			a.after(0)
			if state := a.Records[0].Spec.State; state != v1alpha1.StateActive {
				t.Errorf("the record is %s", state)
			}

			a = newAudited(t)
			a.after(190 * day)
			change(a)
			a.after(day)
			if state := a.Records[0].Spec.State; state != v1alpha1.StateRevoked || len(a.Records) != 1 {
				t.Errorf("%d records, the first %s", len(a.Records), state)
			}
			a.expect(v1alpha1.AuditRevoked)
		})
	}
}

// TestRotationsOnScheduleAreNoUse: a key that is rotated more often than it has to be used is found unused all the same, also when
// the records of its first revisions are gone.
func TestRotationsOnScheduleAreNoUse(t *testing.T) {
	a := newAudited(t)
	a.Key.Spec.Rotation = &v1alpha1.Rotation{Interval: lasts(5 * day)}
	a.after(90 * day)
	a.expect("")
	a.after(time.Hour)
	a.expect(v1alpha1.AuditUnused)
	if a.Records[0].Spec.Revision != 1 || a.Records[1].Spec.Revision == 2 {
		t.Fatalf("of the records %+v the first revision's is not the only one of old", a.Records)
	}
	a.after(31 * day)
	a.expect(v1alpha1.AuditDisabled)
	newest := a.Records[len(a.Records)-1].Spec.Revision
	a.after(30 * day)
	if now := a.Records[len(a.Records)-1].Spec.Revision; now != newest {
		t.Errorf("revision %d was issued for a key that is disabled", now)
	}

	a = newAudited(t)
	a.after(100 * day)
	a.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(a.Now)}
	a.after(time.Minute)
	a.expect("")
}

// TestTheAuditOutlivesTheStatus: where the status is lost, nothing is enabled and nothing issued.
func TestTheAuditOutlivesTheStatus(t *testing.T) {
	for _, stage := range []struct {
		after time.Duration
		stage v1alpha1.AuditStage
	}{{130 * day, v1alpha1.AuditDisabled}, {190 * day, v1alpha1.AuditRevoked}} {
		a := newAudited(t)
		a.after(stage.after)
		before := *a.Key.Status.Audit
		a.Key.Status = v1alpha1.DGbotAPIKeyStatus{}
		a.Records[0].Spec.IssuedAt = *at(a.Now) // as if the audit had been in a hurry: what was just issued is reported
		for _, event := range Events(a.Observation, Plan(a.Observation, a.Now).Status, a.Now) {
			if event.Reason == v1alpha1.IssuedReason {
				t.Errorf("at stage %s: %q", stage.stage, event.Note)
			}
		}
		a.Records[0].Spec.IssuedAt = *at(start)
		if steps := a.after(0); len(steps) > 0 {
			t.Errorf("at stage %s: %+v", stage.stage, steps)
		}
		a.expect(stage.stage)
		if after := *a.Key.Status.Audit; !after.Since.Equal(before.Since) || !after.UnusedSince.Equal(before.UnusedSince) || !after.NextStageAt.Equal(before.NextStageAt) {
			t.Errorf("%+v, was %+v", after, before)
		}
		a.Records = nil
		if steps := a.after(0); len(steps) > 0 {
			t.Errorf("without records, at stage %s: %+v", stage.stage, steps)
		}
		if got := a.Key.Status.Audit; got == nil || got.Stage != stage.stage {
			t.Errorf("without records: %+v", got)
		}
	}
}

// TestTheStricterCounts of spec.state and the audit.
func TestTheStricterCounts(t *testing.T) {
	a := newAudited(t)
	a.after(130 * day)
	a.Key.Spec.State = v1alpha1.StateRevoked
	a.after(0)
	if state := a.Records[0].Spec.State; state != v1alpha1.StateRevoked {
		t.Errorf("the record is %s", state)
	}
	a.Key.Spec.State = v1alpha1.StateActive
	a.after(0)
	if len(a.Records) != 1 {
		t.Error("a revision was issued for a key that the audit has disabled")
	}
	a.keep(a.Now)
	a.expect("")

	a = newAudited(t)
	a.Key.Spec.State = v1alpha1.StateDisabled
	a.after(130 * day)
	if is := apimeta.FindStatusCondition(a.Key.Status.Conditions, v1alpha1.ReadyCondition); !strings.Contains(is.Message, "spec.state") {
		t.Errorf("a key that a user has disabled says %q", is.Message)
	}
	a.Key.Spec.State = v1alpha1.StateActive
	a.after(0)
	a.expect(v1alpha1.AuditDisabled)
}

// TestRevocationsActWhileTheAuditHasDisabledAKey.
func TestRevocationsActWhileTheAuditHasDisabledAKey(t *testing.T) {
	a := newAudited(t)
	a.after(130 * day)
	a.Key.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(a.Now), RequestedAt: at(a.Now)}
	a.after(0)
	if len(a.Records) != 1 || a.Records[0].Spec.State != v1alpha1.StateRevoked {
		t.Errorf("the records: %+v", a.Records)
	}
	a.after(100 * day)
	if got := a.Key.Status.Audit; got.Stage != v1alpha1.AuditDisabled {
		t.Errorf("there is nothing left to revoke, and the audit says %+v", got)
	}
	a.keep(a.Now)
	if len(a.Records) != 2 || a.Records[1].Spec.Cause != v1alpha1.CauseRevocation {
		t.Errorf("the records: %+v", a.Records)
	}
}

// TestTheEventsOfTheAudit: one for each stage, and one when it is over.
func TestTheEventsOfTheAudit(t *testing.T) {
	a := newAudited(t)
	var told []string
	for range 200 * 24 {
		a.Now = a.Now.Add(time.Hour)
		a.renew()
		for {
			d := Plan(a.Observation, a.Now)
			for _, step := range d.Steps {
				a.Apply(step)
			}
			if len(d.Steps) > 0 {
				continue
			}
			for _, e := range Events(a.Observation, d.Status, a.Now) {
				told = append(told, e.Reason)
				if !e.Warning {
					t.Errorf("%s is no warning", e.Reason)
				}
			}
			a.Key.Status = *d.Status
			break
		}
	}
	if want := []string{v1alpha1.NotUsedReason, v1alpha1.DisabledByAuditReason, v1alpha1.RevokedByAuditReason}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// TestUsesAreReportedInSteps: after the last use that was reported there may have been others, up to one step later.
func TestUsesAreReportedInSteps(t *testing.T) {
	a := newAudited(t)
	a.Records[0].Status.LastUsedAt, a.Records[0].Status.Resolution = at(a.Now), duration(12*time.Hour)
	a.after(90*day + 11*time.Hour)
	a.expect("")
	a.after(2 * time.Hour)
	a.expect(v1alpha1.AuditUnused)
}
