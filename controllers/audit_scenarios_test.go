// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

const day = 24 * time.Hour

// audit gives the fixture's environment an audit: 90 days, 120, 180.
func (w *fixture) audit(exemptions ...v1alpha1.AuditExemption) {
	w.T.Helper()
	days := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * day} }
	w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) {
		s.Audit = &v1alpha1.EnvironmentAudit{UnusedAfter: days(90), DisableAfter: days(120), RevokeAfter: days(180), Exemptions: exemptions}
	})
}

// unusedFor lets time go by in which verifiers report, and no client uses the key.
func (w *fixture) unusedFor(days int) {
	w.T.Helper()
	w.advance(time.Duration(days)*day + time.Hour)
	w.vouch(w.Name, &w.first().Spec.IssuedAt)
}

// unused is a key that has been unused for so many days, as the audit has found it again and again.
func (w *fixture) unused(days ...int) {
	w.T.Helper()
	w.audit()
	w.create(w.ofEnvironment(w.Name))
	w.rest()
	for _, n := range days {
		w.unusedFor(n)
		w.rest()
	}
}

func (w *fixture) keep() {
	w.T.Helper()
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.KeptAtAnnotation, w.second().Format(time.RFC3339))
	})
}

// atStage asserts the stage in the status, and the mark and the state of the first record.
func atStage(stage v1alpha1.AuditStage) func(*fixture) {
	return func(w *fixture) {
		w.T.Helper()
		if got := environments.StageOf(&w.key().Status); got != stage {
			w.T.Errorf("stage %q (%+v), want %q", got, w.key().Status.Audit, stage)
		}
		var marked v1alpha1.AuditStage
		if mark := revisions.MarkOf(w.first()); mark != nil {
			marked = mark.Stage
		}
		if stage != v1alpha1.AuditUnused && marked != stage {
			w.T.Errorf("the record has the mark %q, want %q", marked, stage)
		}
	}
}

// auditScenarios are those of the audit of unused keys.
var auditScenarios = map[string]scenario{
	"the audit finds a key unused": {
		prepare: func(w *fixture) { w.unused() },
		happen:  func(w *fixture) { w.unusedFor(91) },
		reason:  v1alpha1.IssuedReason,
		check:   atStage(v1alpha1.AuditUnused),
	},
	"the audit disables a key": {
		prepare: func(w *fixture) { w.unused(91) },
		happen:  func(w *fixture) { w.unusedFor(31) }, interrupts: true,
		reason: v1alpha1.DisabledReason,
		check:  atStage(v1alpha1.AuditDisabled),
	},
	"the audit disables a key in its overlap": {
		prepare: func(w *fixture) {
			w.unused(91)
			w.edit(func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation = &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 100 * day}, Overlap: &metav1.Duration{Duration: 80 * day}}
			})
			w.unusedFor(29)
			w.rest()
		},
		happen: func(w *fixture) { w.unusedFor(5) }, interrupts: true,
		reason: v1alpha1.DisabledReason,
		check: func(w *fixture) {
			if records := w.records(); len(records) != 2 || records[0].Spec.State != v1alpha1.StateDisabled || records[1].Spec.State != v1alpha1.StateDisabled {
				w.T.Errorf("%d records, want two that are Disabled: %+v", len(records), records)
			}
			if audit := w.key().Status.Audit; audit == nil || audit.Stage != v1alpha1.AuditDisabled {
				w.T.Errorf("the status says %+v", audit)
			}
		},
	},
	"the audit revokes a key": {
		prepare: func(w *fixture) { w.unused(91, 31) },
		happen:  func(w *fixture) { w.unusedFor(61) }, interrupts: true,
		reason: v1alpha1.RevokedReason,
		check: func(w *fixture) {
			atStage(v1alpha1.AuditRevoked)(w)
			if state := w.first().Spec.State; state != v1alpha1.StateRevoked {
				w.T.Errorf("the record is %s", state)
			}
		},
	},
	"a key that the audit has disabled is kept": {
		prepare: func(w *fixture) { w.unused(91, 31) },
		happen:  func(w *fixture) { w.keep() }, interrupts: true,
		reason: v1alpha1.IssuedReason,
		check:  atStage(""),
	},
	"a key that the audit has revoked is kept": {
		prepare: func(w *fixture) { w.unused(91, 31, 61) },
		happen:  func(w *fixture) { w.keep() }, interrupts: true,
		causes: []v1alpha1.Cause{v1alpha1.CauseReactivation},
		reason: v1alpha1.IssuedReason,
	},
	"a key that the audit has disabled is exempt": {
		prepare: func(w *fixture) { w.unused(91, 31) },
		happen: func(w *fixture) {
			w.changeRules(func(s *v1alpha1.DGbotEnvironmentSpec) {
				s.Audit.Exemptions = []v1alpha1.AuditExemption{{Name: keyName, Namespace: w.Name, Reason: "Needed in January", Until: &metav1.Time{Time: w.second().Add(30 * day)}}}
			})
		}, interrupts: true,
		reason: v1alpha1.IssuedReason,
		check:  atStage(""),
	},
	"the status of a key that the audit has revoked is lost": {
		prepare: func(w *fixture) { w.unused(91, 31, 61) },
		happen:  func(w *fixture) { w.loseStatus() }, interrupts: true,
		reason: v1alpha1.RevokedReason,
		check:  atStage(v1alpha1.AuditRevoked),
	},
	"the Secret of a key that the audit has disabled is deleted": {
		prepare: func(w *fixture) { w.unused(91, 31) },
		happen:  func(w *fixture) { w.unusedFor(1); w.deleteSecret() }, interrupts: true,
		reason: v1alpha1.DisabledReason,
		check: func(w *fixture) {
			if w.secret() != nil || len(w.records()) != 1 {
				w.T.Errorf("%d records, and a Secret: %t", len(w.records()), w.secret() != nil)
			}
		},
	},
}

// loseStatus is what a backup without statuses brings back.
func (w *fixture) loseStatus() {
	w.T.Helper()
	key := w.key()
	key.Status = v1alpha1.DGbotAPIKeyStatus{}
	if err := live.Status().Update(w.T.Context(), key); err != nil {
		w.T.Fatal(err)
	}
}
