// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// auditGhost is the walk's account of what the audit did.
type auditGhost struct{ disabled, enabled, revoked int }

// actOnAudit gives the key's environment another audit, or none, or has a user keep the key.
func (w *walk) actOnAudit() {
	if w.rng.Intn(3) == 0 {
		metav1.SetMetaDataAnnotation(&w.sim.Key.ObjectMeta, v1alpha1.KeptAtAnnotation, instant.Format(w.someTime()))
		w.note("kept at %s", w.sim.Key.Annotations[v1alpha1.KeptAtAnnotation])
		return
	}
	if w.sim.Environment.Rules == nil {
		w.sim.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{}}
	}
	minutes := func(most int) time.Duration { return time.Duration(1+w.rng.Intn(most)) * time.Minute }
	audit := &v1alpha1.EnvironmentAudit{UnusedAfter: lasts(minutes(60))}
	if w.rng.Intn(5) > 0 {
		audit.DisableAfter = lasts(audit.UnusedAfter.Duration + minutes(60))
		if w.rng.Intn(3) > 0 {
			audit.RevokeAfter = lasts(audit.DisableAfter.Duration + minutes(60))
		}
	}
	if w.rng.Intn(4) == 0 {
		audit.Exemptions = []v1alpha1.AuditExemption{{Name: w.sim.Key.Name, Namespace: w.sim.Key.Namespace, Until: w.someTime()}}
	}
	w.sim.Environment.Rules.Audit = audit
	w.note("audit %+v", audit)
	// Without reports it does nothing.
	w.usage.up = true
	w.renew()
}

// auditOf is the audit that holds for the key at the time; nil for none.
func (w *walk) auditOf() *v1alpha1.EnvironmentAudit {
	rules := w.sim.Environment.Rules
	if rules == nil || rules.Audit == nil {
		return nil
	}
	for _, e := range rules.Audit.Exemptions {
		if w.sim.Now.Before(e.Until.Time) {
			return nil
		}
	}
	return rules.Audit
}

// keptAt is when a user decided to keep the key; zero for never.
func (w *walk) keptAt() time.Time {
	kept, err := time.Parse(time.RFC3339, w.sim.Key.Annotations[v1alpha1.KeptAtAnnotation])
	if err != nil || kept.After(w.sim.Now) {
		return time.Time{}
	}
	return kept
}

// idle is how long no client has used any revision, and no user has kept the key.
func (w *walk) idle() time.Duration {
	last := w.keptAt()
	for _, used := range w.usage.used {
		last = instant.Latest(last, used)
	}
	return w.sim.Now.Sub(last)
}

// auditMayDisable reports whether the audit may disable the key now, judged by what happened to it.
func (w *walk) auditMayDisable() bool {
	audit, warned := w.auditOf(), w.sim.Key.Status.Audit
	if audit == nil || audit.DisableAfter == nil || warned == nil || warned.Stage != v1alpha1.AuditUnused {
		return false
	}
	return w.clockSetBack || w.reported(audit.DisableAfter.Duration) && w.sim.Now.Sub(warned.Since.Time) >= audit.DisableAfter.Duration-audit.UnusedAfter.Duration
}

// reported reports whether verifiers have reported for so long, and that there was no use.
func (w *walk) reported(unused time.Duration) bool {
	reporting := w.usage.up || w.sim.Now.Sub(w.sim.Tracking.Renewed) < tracking.MaxTrackingGap
	return reporting && w.sim.Now.Sub(w.usage.since) >= unused && w.idle() >= unused
}

// checkAudit judges what a step has made of a record on account of the audit.
func (w *walk) checkAudit(before, after *v1alpha1.DGbotAPIKeyRecord) {
	was, is := revisions.MarkOf(before), revisions.MarkOf(after)
	if told := w.sim.Key.Status.Audit; was == nil && is != nil && told != nil && (told.Stage == v1alpha1.AuditDisabled || told.Stage == v1alpha1.AuditRevoked) {
		// The record that had the mark is gone: the status has it noted on another one.
		was = &revisions.AuditMark{Stage: told.Stage, Since: *told.Since, UnusedSince: *told.UnusedSince}
	}
	switch {
	case w.sim.Key.Spec.State == v1alpha1.StateRevoked || w.cutOff(after.Spec.IssuedAt):
		return
	case is != nil && is.Stage == v1alpha1.AuditRevoked && (was == nil || was.Stage != is.Stage):
		w.audit.revoked++
		audit := w.auditOf()
		if audit == nil || audit.RevokeAfter == nil || was == nil {
			w.failf("revision %d was revoked, and it was not even disabled: %+v", after.Spec.Revision, audit)
		} else if own := audit.RevokeAfter.Duration - audit.DisableAfter.Duration; !w.clockSetBack && (w.sim.Now.Sub(was.Since.Time) < own || !w.reported(own)) {
			w.failf("revision %d was revoked %s after it was disabled", after.Spec.Revision, w.sim.Now.Sub(was.Since.Time))
		}
	case after.Spec.State == v1alpha1.StateRevoked && before.Spec.State != v1alpha1.StateRevoked && (w.newestMark() == nil || w.newestMark().Stage != v1alpha1.AuditRevoked):
		w.failf("revision %d was revoked, and no user asked for it", after.Spec.Revision)
	case was == nil && is != nil:
		w.audit.disabled++
		if !w.auditMayDisable() {
			w.failf("revision %d was disabled by the audit: %+v, idle for %s, reports since %s", after.Spec.Revision, w.sim.Key.Status.Audit, w.idle(), w.usage.since)
		}
	case was != nil && is == nil:
		w.audit.enabled++
		audit := w.auditOf()
		if audit == nil || audit.DisableAfter == nil || was.Since.Sub(was.UnusedSince.Time) < audit.DisableAfter.Duration || w.keptAt().After(was.UnusedSince.Time) {
			return
		}
		for _, used := range w.usage.used {
			if used.After(was.UnusedSince.Time) {
				return
			}
		}
		w.failf("revision %d was enabled again, and nothing happened since %s", after.Spec.Revision, was.Since)
	}
}

// newestMark is what the audit has noted on the newest record.
func (w *walk) newestMark() *revisions.AuditMark {
	var newest *v1alpha1.DGbotAPIKeyRecord
	for i := range w.sim.Records {
		if r := &w.sim.Records[i]; newest == nil || r.Spec.Revision > newest.Spec.Revision {
			newest = r
		}
	}
	if newest == nil {
		return nil
	}
	return revisions.MarkOf(newest)
}

// checkAuditOf a revision that is about to be issued: none is for a key that the audit has revoked, unless a user keeps it.
func (w *walk) checkAuditOf(issue steps.IssueRevision) {
	if mark := w.newestMark(); mark != nil && mark.Stage == v1alpha1.AuditRevoked && w.keptAt().Before(mark.Since.Time) {
		w.failf("revision %d is issued for a key that the audit has revoked", issue.Revision)
	}
}
