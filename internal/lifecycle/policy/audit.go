// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// The audit of unused keys, by what is known of a key:
//
//	       unusedAfter            disableAfter, and            revokeAfter, and
//	in use ───────────▶ Unused ──────────────────▶ Disabled ──────────────────▶ Revoked
//	   ▲                   │   its own time over      │      its own time over      │
//	   └───────────────────┴──────────────────────────┘◀── kept-at, a late report   │ kept-at: a new revision
//	         a use, kept-at, a gap in the reports           of a use, an exemption, ▼
//	         an exemption, other rules                      other rules
//
// Unused is a warning, which the key's status remembers: where that is lost, the operator warns again. Disabled and Revoked are
// done to the records, and noted on the newest of them with the write that does it, so that no loss of a status revives a key. A
// gap in the reports takes back the warning, because a use may have been missed. It enables nothing: what is disabled is not used.

// audit is what the audit makes of a key.
type audit struct {
	// mark is to be on the newest record; nil for none.
	mark *revisions.AuditMark
	// Shown is what the status says: what has been done, and not what is about to be.
	Shown *v1alpha1.AuditStatus
}

// findAudit asks the audit of the key's environment.
func (p *Planner) findAudit() audit {
	mark, kept := p.auditMark(), p.Requests.Kept.Due
	if mark != nil && mark.Stage == v1alpha1.AuditRevoked && (kept == nil || kept.Time.Before(mark.Since.Time)) {
		// Whatever has become of the rules: only the annotation kept-at has a revision issued again.
		return audit{mark: mark, Shown: showMark(mark, nil)}
	}
	if p.auditUnknown() {
		return audit{mark: mark, Shown: p.Was.Audit}
	}
	rules := p.auditRules()
	if rules == nil {
		return audit{}
	}
	if effective.ExemptionOf(rules, p.Namespace, p.Name, &p.Horizon) != nil {
		return audit{}
	}
	var a audit
	if since := p.unusedSince(mark); mark != nil && mark.Stage == v1alpha1.AuditDisabled && rules.DisableAfter != nil &&
		!mark.Since.Time.Before(since.Add(instant.RoundUp(rules.DisableAfter.Duration))) {
		a.beyondDisabled(p, rules, mark)
		return a
	}
	if p.auditable() {
		a.upToDisabled(p, rules)
	}
	return a
}

// auditRules are those of the key's environment; nil where there are none.
func (p *Planner) auditRules() *v1alpha1.EnvironmentAudit {
	if p.Environment.Rules == nil || p.Environment.Rules.Audit == nil || p.Environment.Rules.Audit.UnusedAfter == nil {
		return nil
	}
	return p.Environment.Rules.Audit
}

// upToDisabled is for a key of which nothing has been done yet.
func (a *audit) upToDisabled(p *Planner, rules *v1alpha1.EnvironmentAudit) {
	quiet := p.quietSince()
	unused := quiet.Add(instant.RoundUp(rules.UnusedAfter.Duration))
	if !p.isProven(unused) {
		return
	}
	a.Shown = &v1alpha1.AuditStatus{UnusedSince: p.unusedSince(nil), Stage: v1alpha1.AuditUnused, Since: p.warnedSince(unused)}
	if rules.DisableAfter == nil {
		return
	}
	due := instant.Latest(quiet.Add(instant.RoundUp(rules.DisableAfter.Duration)), a.Shown.Since.Add(instant.RoundUp(rules.DisableAfter.Duration)-instant.RoundUp(rules.UnusedAfter.Duration)))
	a.Shown.NextStageAt = new(instant.Whole(due))
	if p.isProven(due) {
		a.mark = &revisions.AuditMark{Stage: v1alpha1.AuditDisabled, Since: instant.Whole(p.Now), UnusedSince: *a.Shown.UnusedSince}
	}
}

// warnedSince is since when the status has warned of a key that is unused from a time on.
func (p *Planner) warnedSince(unused time.Time) *metav1.Time {
	if old := p.Was.Audit; old != nil && old.Stage == v1alpha1.AuditUnused && old.Since != nil && !old.Since.Time.Before(unused) && p.Reached(old.Since.Time) {
		return old.Since
	}
	return new(instant.Whole(p.Now))
}

// beyondDisabled is for a key that the audit has disabled. It cannot have been used since. That verifiers report uses is required all
// the same, because the next stage is final.
func (a *audit) beyondDisabled(p *Planner, rules *v1alpha1.EnvironmentAudit, mark *revisions.AuditMark) {
	a.mark = mark
	if rules.RevokeAfter == nil || !p.auditable() {
		a.Shown = showMark(mark, nil)
		return
	}
	due := instant.Latest(mark.UnusedSince.Add(instant.RoundUp(rules.RevokeAfter.Duration)), instant.Latest(mark.Since.Time, p.Tracking.Since).Add(instant.RoundUp(rules.RevokeAfter.Duration)-instant.RoundUp(rules.DisableAfter.Duration)))
	a.Shown = showMark(mark, new(instant.Whole(due)))
	if p.isProven(due) {
		a.mark = &revisions.AuditMark{Stage: v1alpha1.AuditRevoked, Since: instant.Whole(p.Now), UnusedSince: mark.UnusedSince}
	}
}

// auditable: there is something to do, and verifiers would have reported a use.
func (p *Planner) auditable() bool {
	return p.isTracked() && slices.ContainsFunc(p.Owned, func(r *revisions.Revision) bool { return r.Verifies(&p.Horizon) })
}

func showMark(mark *revisions.AuditMark, next *metav1.Time) *v1alpha1.AuditStatus {
	return &v1alpha1.AuditStatus{UnusedSince: &mark.UnusedSince, Stage: mark.Stage, Since: &mark.Since, NextStageAt: next}
}

// auditMark returns what the audit has done to the key; nil for nothing. A revision that was issued since has no mark, and makes
// those on earlier ones history. Where the record that had it is gone, the status still knows, whatever else was deleted with it.
func (p *Planner) auditMark() *revisions.AuditMark {
	if len(p.Owned) > 0 {
		if mark := p.Owned[0].Mark; mark != nil {
			return mark
		}
	}
	old := p.Was.Audit
	if !p.NewestLost() || old == nil || old.Since == nil || old.UnusedSince == nil ||
		old.Stage != v1alpha1.AuditDisabled && old.Stage != v1alpha1.AuditRevoked {
		return nil
	}
	return &revisions.AuditMark{Stage: old.Stage, Since: *old.Since, UnusedSince: *old.UnusedSince}
}

// unusedSince is since when the key is known not to be used; nil where that is not known. What is known of a key that the audit has
// disabled does not depend on reports any more.
func (p *Planner) unusedSince(mark *revisions.AuditMark) *metav1.Time {
	var since time.Time
	if asked := p.askedFor(); asked != nil {
		since = asked.IssuedAt.Time
	}
	for _, at := range []*metav1.Time{p.Requests.Kept.Due, p.LastUseOfAny()} {
		if at != nil {
			since = instant.Latest(since, at.Time)
		}
	}
	switch {
	case mark != nil:
		since = instant.Latest(since, mark.UnusedSince.Time)
	case !p.isTracked() || len(p.Owned) == 0:
		return nil
	default:
		since = instant.Latest(since, p.Tracking.Since)
	}
	return new(instant.Whole(since))
}

// quietSince is from when on no use can have gone unreported: uses are reported in steps.
func (p *Planner) quietSince() time.Time {
	since := p.unusedSince(nil).Time
	if used := p.LastUseOfAny(); used != nil {
		since = instant.Latest(since, used.Add(p.coarsest()))
	}
	return since
}

// coarsest is the largest step in which uses of the key have been reported.
func (p *Planner) coarsest() time.Duration {
	var step time.Duration
	for _, record := range p.Owned {
		if record.LastUsedAt != nil {
			step = max(step, instant.RoundUp(usageResolution(record)))
		}
	}
	if step == 0 {
		return defaultUsageResolution
	}
	return step
}

// askedFor returns the newest revision that was not issued by time alone: an unused key is rotated on schedule all the same. It is
// kept for as long as there is an audit; where it is gone, the oldest one stands for it. Nil where there is none at all.
func (p *Planner) askedFor() *revisions.Revision {
	for _, record := range p.Owned {
		if record.Cause != v1alpha1.CauseSchedule {
			return record
		}
	}
	if len(p.Owned) == 0 {
		return nil
	}
	return p.Owned[len(p.Owned)-1]
}

// auditState is the state that the audit holds the key to.
func (p *Planner) auditState() v1alpha1.KeyState {
	switch {
	case p.Audit.mark == nil:
		return v1alpha1.StateActive
	case p.Audit.mark.Stage == v1alpha1.AuditRevoked:
		return v1alpha1.StateRevoked
	}
	return v1alpha1.StateDisabled
}

// auditGate is closed while the audit keeps the key from verifying.
func (p *Planner) auditGate() *report.Obstacle {
	if !p.heldByAudit {
		return nil
	}
	o := &report.Obstacle{Reason: v1alpha1.DisabledReason, Stalled: true}
	if p.Audit.mark.Stage == v1alpha1.AuditRevoked {
		o.Reason = v1alpha1.RevokedReason
	}
	_, o.Message = p.Unused()
	return o
}

// Unused returns reason and message of the condition Unused; empty for a key that is in use.
func (p *Planner) Unused() (reason, message string) {
	a := p.Audit.Shown
	if a == nil || a.Stage == "" {
		return "", ""
	}
	const keep = "annotate it with " + v1alpha1.KeptAtAnnotation + " and the present time (RFC 3339, whole seconds)"
	audit := fmt.Sprintf("the audit of environment %q", p.Wants.Environment)
	switch {
	case a.Stage == v1alpha1.AuditRevoked:
		message = fmt.Sprintf("Revoked for good by %s at %s: not used since %s. To have a new revision issued, %s",
			audit, instant.Format(a.Since), instant.Format(a.UnusedSince), keep)
		if kept := p.Requests.Kept.Due; kept != nil {
			message += fmt.Sprintf("; what stands there, %s, was before it was revoked", instant.Format(kept))
		}
		return v1alpha1.RevokedByAuditReason, message
	case a.Stage == v1alpha1.AuditDisabled && a.NextStageAt != nil:
		return v1alpha1.DisabledByAuditReason, fmt.Sprintf("Disabled by %s at %s: not used since %s. It is revoked for good at %s; to keep it, %s",
			audit, instant.Format(a.Since), instant.Format(a.UnusedSince), instant.Format(a.NextStageAt), keep)
	case a.Stage == v1alpha1.AuditDisabled:
		return v1alpha1.DisabledByAuditReason, fmt.Sprintf("Disabled by %s at %s: not used since %s. To keep it, %s",
			audit, instant.Format(a.Since), instant.Format(a.UnusedSince), keep)
	case a.NextStageAt != nil:
		return v1alpha1.NotUsedReason, fmt.Sprintf("Not used since %s. By %s it is disabled at %s; to keep it, use it, or %s",
			instant.Format(a.UnusedSince), audit, instant.Format(a.NextStageAt), keep)
	}
	return v1alpha1.NotUsedReason, fmt.Sprintf("Not used since %s. Delete it if it is not needed; to keep it, %s", instant.Format(a.UnusedSince), keep)
}
