// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
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

// AuditMark is what the audit has done to a key, as noted on its newest record.
type AuditMark struct {
	// Stage is Disabled or Revoked.
	Stage v1alpha1.AuditStage `json:"stage"`
	// Since is when it was reached.
	Since metav1.Time `json:"since"`
	// UnusedSince is since when the key was not used.
	UnusedSince metav1.Time `json:"unusedSince"`
}

// MarkOf returns what the audit has noted on a record; nil where it has not, or where that cannot be read.
func MarkOf(record *v1alpha1.DGbotAPIKeyRecord) *AuditMark {
	text, ok := record.Annotations[v1alpha1.AuditAnnotation]
	var mark AuditMark
	if !ok || json.Unmarshal([]byte(text), &mark) != nil || mark.Stage != v1alpha1.AuditDisabled && mark.Stage != v1alpha1.AuditRevoked {
		return nil
	}
	return &mark
}

// String is the mark as it stands on a record.
func (m AuditMark) String() string {
	m.Since, m.UnusedSince = whole(m.Since.Time), whole(m.UnusedSince.Time)
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // two times and a word
	}
	return string(text)
}

// audit is what the audit makes of a key.
type audit struct {
	// mark is to be on the newest record; nil for none.
	mark *AuditMark
	// shown is what the status says: what has been done, and not what is about to be.
	shown *v1alpha1.AuditStatus
}

// findAudit asks the audit of the key's environment.
func (p *planner) findAudit() audit {
	mark, kept := p.auditMark(), p.requests.kept.due
	if mark != nil && mark.Stage == v1alpha1.AuditRevoked && (kept == nil || kept.Time.Before(mark.Since.Time)) {
		// Whatever has become of the rules: only the annotation kept-at has a revision issued again.
		return audit{mark: mark, shown: showMark(mark, nil)}
	}
	if p.auditUnknown() {
		return audit{mark: mark, shown: p.was.audit}
	}
	rules := p.auditRules()
	if rules == nil {
		return audit{}
	}
	if exemptionOf(rules, p.namespace, p.name, &p.horizon) != nil {
		return audit{}
	}
	var a audit
	if since := p.unusedSince(mark); mark != nil && mark.Stage == v1alpha1.AuditDisabled && rules.DisableAfter != nil &&
		!mark.Since.Time.Before(since.Add(seconds(rules.DisableAfter.Duration))) {
		a.beyondDisabled(p, rules, mark)
		return a
	}
	if p.auditable() {
		a.upToDisabled(p, rules)
	}
	return a
}

// auditRules are those of the key's environment; nil where there are none.
func (p *planner) auditRules() *v1alpha1.EnvironmentAudit {
	if p.Environment.Rules == nil || p.Environment.Rules.Audit == nil || p.Environment.Rules.Audit.UnusedAfter == nil {
		return nil
	}
	return p.Environment.Rules.Audit
}

// exemptionOf returns the exemption that holds for a key, of several the one with the latest until; nil where none does.
func exemptionOf(rules *v1alpha1.EnvironmentAudit, namespace, name string, h *horizon) *v1alpha1.AuditExemption {
	var longest *v1alpha1.AuditExemption
	for i := range rules.Exemptions {
		e := &rules.Exemptions[i]
		if e.Name == name && e.Namespace == namespace && e.Until != nil && !h.reached(e.Until.Time) &&
			(longest == nil || longest.Until.Before(e.Until)) {
			longest = e
		}
	}
	return longest
}

// upToDisabled is for a key of which nothing has been done yet.
func (a *audit) upToDisabled(p *planner, rules *v1alpha1.EnvironmentAudit) {
	quiet := p.quietSince()
	unused := quiet.Add(seconds(rules.UnusedAfter.Duration))
	if !p.isProven(unused) {
		return
	}
	a.shown = &v1alpha1.AuditStatus{UnusedSince: p.unusedSince(nil), Stage: v1alpha1.AuditUnused, Since: p.warnedSince(unused)}
	if rules.DisableAfter == nil {
		return
	}
	due := latest(quiet.Add(seconds(rules.DisableAfter.Duration)), a.shown.Since.Add(seconds(rules.DisableAfter.Duration)-seconds(rules.UnusedAfter.Duration)))
	a.shown.NextStageAt = new(whole(due))
	if p.isProven(due) {
		a.mark = &AuditMark{Stage: v1alpha1.AuditDisabled, Since: whole(p.now), UnusedSince: *a.shown.UnusedSince}
	}
}

// warnedSince is since when the status has warned of a key that is unused from a time on.
func (p *planner) warnedSince(unused time.Time) *metav1.Time {
	if old := p.was.audit; old != nil && old.Stage == v1alpha1.AuditUnused && old.Since != nil && !old.Since.Time.Before(unused) && p.reached(old.Since.Time) {
		return old.Since
	}
	return new(whole(p.now))
}

// beyondDisabled is for a key that the audit has disabled. It cannot have been used since. That verifiers report uses is required all
// the same, because the next stage is final.
func (a *audit) beyondDisabled(p *planner, rules *v1alpha1.EnvironmentAudit, mark *AuditMark) {
	a.mark = mark
	if rules.RevokeAfter == nil || !p.auditable() {
		a.shown = showMark(mark, nil)
		return
	}
	due := latest(mark.UnusedSince.Add(seconds(rules.RevokeAfter.Duration)), latest(mark.Since.Time, p.Tracking.Since).Add(seconds(rules.RevokeAfter.Duration)-seconds(rules.DisableAfter.Duration)))
	a.shown = showMark(mark, new(whole(due)))
	if p.isProven(due) {
		a.mark = &AuditMark{Stage: v1alpha1.AuditRevoked, Since: whole(p.now), UnusedSince: mark.UnusedSince}
	}
}

// auditable: there is something to do, and verifiers would have reported a use.
func (p *planner) auditable() bool {
	return p.isTracked() && slices.ContainsFunc(p.live, func(r *Revision) bool { return r.verifies(&p.horizon) })
}

func showMark(mark *AuditMark, next *metav1.Time) *v1alpha1.AuditStatus {
	return &v1alpha1.AuditStatus{UnusedSince: &mark.UnusedSince, Stage: mark.Stage, Since: &mark.Since, NextStageAt: next}
}

// auditMark returns what the audit has done to the key; nil for nothing. A revision that was issued since has no mark, and makes
// those on earlier ones history. Where the record that had it is gone, the status still knows, whatever else was deleted with it.
func (p *planner) auditMark() *AuditMark {
	if len(p.live) > 0 {
		if mark := p.live[0].Mark; mark != nil {
			return mark
		}
	}
	old := p.was.audit
	if !p.newestLost() || old == nil || old.Since == nil || old.UnusedSince == nil ||
		old.Stage != v1alpha1.AuditDisabled && old.Stage != v1alpha1.AuditRevoked {
		return nil
	}
	return &AuditMark{Stage: old.Stage, Since: *old.Since, UnusedSince: *old.UnusedSince}
}

// unusedSince is since when the key is known not to be used; nil where that is not known. What is known of a key that the audit has
// disabled does not depend on reports any more.
func (p *planner) unusedSince(mark *AuditMark) *metav1.Time {
	var since time.Time
	if asked := p.askedFor(); asked != nil {
		since = asked.IssuedAt.Time
	}
	for _, at := range []*metav1.Time{p.requests.kept.due, p.lastUseOfAny()} {
		if at != nil {
			since = latest(since, at.Time)
		}
	}
	switch {
	case mark != nil:
		since = latest(since, mark.UnusedSince.Time)
	case !p.isTracked() || len(p.live) == 0:
		return nil
	default:
		since = latest(since, p.Tracking.Since)
	}
	return new(whole(since))
}

// quietSince is from when on no use can have gone unreported: uses are reported in steps.
func (p *planner) quietSince() time.Time {
	since := p.unusedSince(nil).Time
	if used := p.lastUseOfAny(); used != nil {
		since = latest(since, used.Add(p.coarsest()))
	}
	return since
}

// coarsest is the largest step in which uses of the key have been reported.
func (p *planner) coarsest() time.Duration {
	var step time.Duration
	for _, record := range p.live {
		if record.LastUsedAt != nil {
			step = max(step, seconds(usageResolution(record)))
		}
	}
	if step == 0 {
		return defaultUsageResolution
	}
	return step
}

// askedFor returns the newest revision that was not issued by time alone: an unused key is rotated on schedule all the same. It is
// kept for as long as there is an audit; where it is gone, the oldest one stands for it. Nil where there is none at all.
func (p *planner) askedFor() *Revision {
	for _, record := range p.live {
		if record.Cause != v1alpha1.CauseSchedule {
			return record
		}
	}
	if len(p.live) == 0 {
		return nil
	}
	return p.live[len(p.live)-1]
}

// auditState is the state that the audit holds the key to.
func (p *planner) auditState() v1alpha1.KeyState {
	switch {
	case p.audit.mark == nil:
		return v1alpha1.StateActive
	case p.audit.mark.Stage == v1alpha1.AuditRevoked:
		return v1alpha1.StateRevoked
	}
	return v1alpha1.StateDisabled
}

// strictness orders states.
var strictness = map[v1alpha1.KeyState]int{v1alpha1.StateDisabled: 1, v1alpha1.StateRevoked: 2}

// auditGate is closed while the audit keeps the key from verifying.
func (p *planner) auditGate() *obstacle {
	if !p.heldByAudit {
		return nil
	}
	o := &obstacle{reason: v1alpha1.DisabledReason, stalled: true}
	if p.audit.mark.Stage == v1alpha1.AuditRevoked {
		o.reason = v1alpha1.RevokedReason
	}
	_, o.message = p.unused()
	return o
}

// unused returns reason and message of the condition Unused; empty for a key that is in use.
func (p *planner) unused() (reason, message string) {
	a := p.audit.shown
	if a == nil || a.Stage == "" {
		return "", ""
	}
	const keep = "annotate it with " + v1alpha1.KeptAtAnnotation + " and the present time (RFC 3339, whole seconds)"
	audit := fmt.Sprintf("the audit of environment %q", p.wants.environment)
	switch {
	case a.Stage == v1alpha1.AuditRevoked:
		message = fmt.Sprintf("Revoked for good by %s at %s: not used since %s. To have a new revision issued, %s",
			audit, rfc3339(a.Since), rfc3339(a.UnusedSince), keep)
		if kept := p.requests.kept.due; kept != nil {
			message += fmt.Sprintf("; what stands there, %s, was before it was revoked", rfc3339(kept))
		}
		return v1alpha1.RevokedByAuditReason, message
	case a.Stage == v1alpha1.AuditDisabled && a.NextStageAt != nil:
		return v1alpha1.DisabledByAuditReason, fmt.Sprintf("Disabled by %s at %s: not used since %s. It is revoked for good at %s; to keep it, %s",
			audit, rfc3339(a.Since), rfc3339(a.UnusedSince), rfc3339(a.NextStageAt), keep)
	case a.Stage == v1alpha1.AuditDisabled:
		return v1alpha1.DisabledByAuditReason, fmt.Sprintf("Disabled by %s at %s: not used since %s. To keep it, %s",
			audit, rfc3339(a.Since), rfc3339(a.UnusedSince), keep)
	case a.NextStageAt != nil:
		return v1alpha1.NotUsedReason, fmt.Sprintf("Not used since %s. By %s it is disabled at %s; to keep it, use it, or %s",
			rfc3339(a.UnusedSince), audit, rfc3339(a.NextStageAt), keep)
	}
	return v1alpha1.NotUsedReason, fmt.Sprintf("Not used since %s. Delete it if it is not needed; to keep it, %s", rfc3339(a.UnusedSince), keep)
}

// StageOf returns the stage of the audit that a key has come to; empty for none.
func StageOf(s *v1alpha1.DGbotAPIKeyStatus) v1alpha1.AuditStage {
	if s.Audit == nil {
		return ""
	}
	return s.Audit.Stage
}

// whole is a time in whole seconds, as they stand in the API.
func whole(at time.Time) metav1.Time { return metav1.Time{Time: at.UTC().Truncate(time.Second)} }
