// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// audited is a key of an environment with an audit, whose uses verifiers report.
type audited struct {
	*Simulation
	t *testing.T
	// silent: no verifier reports. missed: none has for a while.
	silent, missed bool
}

func newAudited(t *testing.T) *audited {
	rules := &v1alpha1.DGbotEnvironmentSpec{Audit: &v1alpha1.EnvironmentAudit{UnusedAfter: lasts(90 * day), DisableAfter: lasts(120 * day), RevokeAfter: lasts(180 * day)}}
	a := &audited{t: t, Simulation: &Simulation{Observation: Observation{Key: testKey("audited"), Secret: revisions.Secret{State: revisions.SecretAbsent}, Environment: effective.Environment{Rules: rules}}, Now: start}}
	a.after(0)
	return a
}

func (a *audited) rules() *v1alpha1.EnvironmentAudit { return a.Environment.Rules.Audit }

// after lets time go by hour by hour, and returns what was done.
func (a *audited) after(d time.Duration) []steps.Step {
	a.t.Helper()
	var taken []steps.Step
	for end := a.Now.Add(d); ; {
		a.renew()
		steps, err := a.Settle()
		if err != nil {
			a.t.Fatal(err)
		}
		taken = append(taken, steps...)
		if !a.Now.Before(end) {
			return taken
		}
		a.Now, a.missed = a.Now.Add(time.Hour), a.missed || a.silent
		if a.Now.After(end) {
			a.Now = end
		}
	}
}

// renew is what the verifiers have done in the hour.
func (a *audited) renew() {
	if a.silent {
		return
	}
	since := a.Now
	if a.Tracking != nil && !a.missed {
		since = a.Tracking.Since
	}
	a.Tracking, a.missed = &tracking.Tracking{Since: since, Renewed: a.Now, Lag: testLag}, false
}

// use has a verifier report a use of the newest revision.
func (a *audited) use() {
	record := &a.Records[len(a.Records)-1]
	record.Status.LastUsedAt, record.Status.Resolution = at(a.Now), duration(testResolution)
	a.after(0)
}

func (a *audited) keep(when time.Time) {
	metav1.SetMetaDataAnnotation(&a.Key.ObjectMeta, v1alpha1.KeptAtAnnotation, instant.Format(at(when)))
	a.after(0)
}

// expect asserts the stage, and what Ready says of it.
func (a *audited) expect(stage v1alpha1.AuditStage) {
	a.t.Helper()
	var got v1alpha1.AuditStage
	if a.Key.Status.Audit != nil {
		got = a.Key.Status.Audit.Stage
	}
	if got != stage {
		a.t.Fatalf("at %s: stage %q (%+v), want %q", a.Now, got, a.Key.Status.Audit, stage)
	}
	reason := map[v1alpha1.AuditStage]string{"": "", v1alpha1.AuditUnused: v1alpha1.NotUsedReason,
		v1alpha1.AuditDisabled: v1alpha1.DisabledByAuditReason, v1alpha1.AuditRevoked: v1alpha1.RevokedByAuditReason}[stage]
	unused := apimeta.FindStatusCondition(a.Key.Status.Conditions, v1alpha1.UnusedCondition)
	if reason == "" && unused != nil || reason != "" && (unused == nil || unused.Reason != reason || !strings.Contains(unused.Message, v1alpha1.KeptAtAnnotation)) {
		a.t.Fatalf("condition Unused: %+v, want reason %q", unused, reason)
	}
	ready := map[v1alpha1.AuditStage]string{v1alpha1.AuditDisabled: v1alpha1.DisabledReason, v1alpha1.AuditRevoked: v1alpha1.RevokedReason}[stage]
	if ready == "" {
		ready = v1alpha1.IssuedReason
	}
	if is := apimeta.FindStatusCondition(a.Key.Status.Conditions, v1alpha1.ReadyCondition); is.Reason != ready {
		a.t.Fatalf("condition Ready: %+v, want reason %q", is, ready)
	}
	state := map[v1alpha1.AuditStage]v1alpha1.KeyState{v1alpha1.AuditDisabled: v1alpha1.StateDisabled, v1alpha1.AuditRevoked: v1alpha1.StateRevoked}[stage]
	if newest := a.Records[len(a.Records)-1].Spec.State; state == "" && newest != v1alpha1.StateActive || state != "" && newest != state {
		a.t.Fatalf("the newest record is %s at stage %q", newest, stage)
	}
}
