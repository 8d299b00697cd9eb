// SPDX-License-Identifier: Apache-2.0

// Package audit decides what the audit of an environment makes of a key that is not used.
package audit

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
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

// Audit is what the audit makes of a key.
type Audit struct {
	// Mark is to be on the newest record; nil for none.
	Mark *revisions.AuditMark
	// Shown is what the status says: what has been done, and not what is about to be.
	Shown *v1alpha1.AuditStatus
	// State is the one that the key gets: the stricter of what its spec asks for and what the audit holds it to.
	State v1alpha1.KeyState
	// IsHeld reports whether the audit lets less of the key than its spec.
	IsHeld bool
}

// Of asks the audit of the key's environment.
func Of(k *facts.Known) Audit {
	a := auditor{k}.find()
	a.State, a.IsHeld = effective.UnderAudit(k.Wants.State, heldState(a.Mark))
	return a
}

// RecordState returns the state that the record of a revision gets from its owner's spec and from the audit. The newest record gets that of the
// audit with the write that notes the mark on it. The others follow once the mark is there, and keep their state until then: after a write
// that failed, every record that the audit has withdrawn must be explained by the mark. What a mark has revoked stays so, even if a user keeps
// the key before all records follow.
func RecordState(k *facts.Known, a *Audit, record *revisions.Revision) v1alpha1.KeyState {
	newest := k.Owned[0]
	if record == newest {
		return a.State
	}
	if newest.Mark != nil && newest.Mark.Stage == v1alpha1.AuditRevoked {
		return v1alpha1.StateRevoked
	}
	state := record.State
	if least, _ := effective.UnderAudit(k.Wants.State, heldState(newest.Mark)); effective.Strictness[state] < effective.Strictness[least] {
		state = least
	}
	if effective.Strictness[state] > effective.Strictness[a.State] {
		state = a.State
	}
	return state
}

// auditor judges the uses of a key.
type auditor struct{ *facts.Known }

func (k auditor) find() Audit {
	mark, kept := k.mark(), k.Requests.Kept.Due
	if mark != nil && mark.Stage == v1alpha1.AuditRevoked && (kept == nil || kept.Time.Before(mark.Since.Time)) {
		// Whatever has become of the rules: only the annotation kept-at has a revision issued again.
		return Audit{Mark: mark, Shown: showMark(mark, nil)}
	}
	if k.AuditUnknown() {
		return Audit{Mark: mark, Shown: k.Was.Audit}
	}
	rules := rulesOf(&k.Environment)
	if rules == nil || effective.ExemptionOf(rules, k.Namespace, k.Name, &k.Horizon) != nil {
		return Audit{}
	}
	if since := k.unusedSince(mark); mark != nil && mark.Stage == v1alpha1.AuditDisabled && rules.DisableAfter != nil &&
		!mark.Since.Time.Before(since.Add(instant.RoundUp(rules.DisableAfter.Duration))) {
		return k.beyondDisabled(rules, mark)
	}
	if !k.auditable() {
		return Audit{}
	}
	return k.upToDisabled(rules)
}

// rulesOf returns the audit of an environment; nil where there is none.
func rulesOf(e *effective.Environment) *v1alpha1.EnvironmentAudit {
	if e.Rules == nil || e.Rules.Audit == nil || e.Rules.Audit.UnusedAfter == nil {
		return nil
	}
	return e.Rules.Audit
}

// upToDisabled is for a key of which nothing has been done yet.
func (k auditor) upToDisabled(rules *v1alpha1.EnvironmentAudit) (a Audit) {
	quiet := k.quietSince()
	unused := quiet.Add(instant.RoundUp(rules.UnusedAfter.Duration))
	if !k.IsProven(unused) {
		return a
	}
	a.Shown = &v1alpha1.AuditStatus{UnusedSince: k.unusedSince(nil), Stage: v1alpha1.AuditUnused, Since: k.warnedSince(unused)}
	if rules.DisableAfter == nil {
		return a
	}
	due := instant.Latest(quiet.Add(instant.RoundUp(rules.DisableAfter.Duration)), a.Shown.Since.Add(instant.RoundUp(rules.DisableAfter.Duration)-instant.RoundUp(rules.UnusedAfter.Duration)))
	a.Shown.NextStageAt = new(instant.Whole(due))
	if k.IsProven(due) {
		a.Mark = &revisions.AuditMark{Stage: v1alpha1.AuditDisabled, Since: instant.Whole(k.Now), UnusedSince: *a.Shown.UnusedSince}
	}
	return a
}

// warnedSince is since when the status has warned of a key that is unused from a time on.
func (k auditor) warnedSince(unused time.Time) *metav1.Time {
	if old := k.Was.Audit; old != nil && old.Stage == v1alpha1.AuditUnused && old.Since != nil && !old.Since.Time.Before(unused) && k.Reached(old.Since.Time) {
		return old.Since
	}
	return new(instant.Whole(k.Now))
}

// beyondDisabled is for a key that the audit has disabled. It cannot have been used since. That verifiers report uses is required all
// the same, because the next stage is final.
func (k auditor) beyondDisabled(rules *v1alpha1.EnvironmentAudit, mark *revisions.AuditMark) Audit {
	if rules.RevokeAfter == nil || !k.auditable() {
		return Audit{Mark: mark, Shown: showMark(mark, nil)}
	}
	due := instant.Latest(mark.UnusedSince.Add(instant.RoundUp(rules.RevokeAfter.Duration)), instant.Latest(mark.Since.Time, k.Tracking.Since).Add(instant.RoundUp(rules.RevokeAfter.Duration)-instant.RoundUp(rules.DisableAfter.Duration)))
	shown := showMark(mark, new(instant.Whole(due)))
	if k.IsProven(due) {
		mark = &revisions.AuditMark{Stage: v1alpha1.AuditRevoked, Since: instant.Whole(k.Now), UnusedSince: mark.UnusedSince}
	}
	return Audit{Mark: mark, Shown: shown}
}

// auditable: there is something to do, and verifiers would have reported a use.
func (k auditor) auditable() bool {
	return k.IsTracked() && slices.ContainsFunc(k.Owned, func(r *revisions.Revision) bool { return r.Verifies(&k.Horizon) })
}

func showMark(mark *revisions.AuditMark, next *metav1.Time) *v1alpha1.AuditStatus {
	return &v1alpha1.AuditStatus{UnusedSince: &mark.UnusedSince, Stage: mark.Stage, Since: &mark.Since, NextStageAt: next}
}

// mark returns what the audit has done to the key; nil for nothing. A revision that was issued since has no mark, and makes
// those on earlier ones history. Where the record that had it is gone, the status still knows, whatever else was deleted with it.
func (k auditor) mark() *revisions.AuditMark {
	if len(k.Owned) > 0 {
		if mark := k.Owned[0].Mark; mark != nil {
			return mark
		}
	}
	old := k.Was.Audit
	if !k.NewestLost() || old == nil || old.Since == nil || old.UnusedSince == nil ||
		old.Stage != v1alpha1.AuditDisabled && old.Stage != v1alpha1.AuditRevoked {
		return nil
	}
	return &revisions.AuditMark{Stage: old.Stage, Since: *old.Since, UnusedSince: *old.UnusedSince}
}

// unusedSince is since when the key is known not to be used; nil where that is not known. What is known of a key that the audit has
// disabled does not depend on reports any more.
func (k auditor) unusedSince(mark *revisions.AuditMark) *metav1.Time {
	var since time.Time
	if asked := askedFor(k.Owned); asked != nil {
		since = asked.IssuedAt.Time
	}
	for _, at := range []*metav1.Time{k.Requests.Kept.Due, k.LastUseOfAny()} {
		if at != nil {
			since = instant.Latest(since, at.Time)
		}
	}
	switch {
	case mark != nil:
		since = instant.Latest(since, mark.UnusedSince.Time)
	case !k.IsTracked() || len(k.Owned) == 0:
		return nil
	default:
		since = instant.Latest(since, k.Tracking.Since)
	}
	return new(instant.Whole(since))
}

// quietSince is from when on no use can have gone unreported: uses are reported in steps.
func (k auditor) quietSince() time.Time {
	since := k.unusedSince(nil).Time
	if used := k.LastUseOfAny(); used != nil {
		since = instant.Latest(since, used.Add(coarsest(k.Owned)))
	}
	return since
}

// coarsest is the largest step in which uses of the key have been reported.
func coarsest(owned []*revisions.Revision) time.Duration {
	var step time.Duration
	for _, record := range owned {
		if record.LastUsedAt != nil {
			step = max(step, instant.RoundUp(tracking.Resolution(record)))
		}
	}
	if step == 0 {
		return tracking.DefaultResolution
	}
	return step
}

// askedFor returns the newest revision that was not issued by time alone: an unused key is rotated on schedule all the same. It is
// kept for as long as there is an audit; where it is gone, the oldest one stands for it. Nil where there is none at all.
func askedFor(owned []*revisions.Revision) *revisions.Revision {
	for _, record := range owned {
		if record.Cause != v1alpha1.CauseSchedule {
			return record
		}
	}
	if len(owned) == 0 {
		return nil
	}
	return owned[len(owned)-1]
}

// CountsFrom reports whether the audit of a key counts from a revision, so that its record stays.
func CountsFrom(k *facts.Known, record *revisions.Revision) bool {
	return rulesOf(&k.Environment) != nil && record == askedFor(k.Owned)
}

// heldState returns the state that the audit holds a key to by its mark; Active without one.
func heldState(mark *revisions.AuditMark) v1alpha1.KeyState {
	switch {
	case mark == nil:
		return v1alpha1.StateActive
	case mark.Stage == v1alpha1.AuditRevoked:
		return v1alpha1.StateRevoked
	}
	return v1alpha1.StateDisabled
}

// Unused returns reason and message of the condition Unused of a key about which the status says this; empty for a key that is in use.
func Unused(k *facts.Known, a *v1alpha1.AuditStatus) (reason, message string) {
	if a == nil || a.Stage == "" {
		return "", ""
	}
	const keep = "set annotation " + v1alpha1.KeptAtAnnotation + " of the DGbotAPIKey to the current time (RFC 3339, whole seconds)"
	audit := fmt.Sprintf("audit of environment %q", k.Wants.Environment)
	switch {
	case a.Stage == v1alpha1.AuditRevoked:
		message = fmt.Sprintf("The %s revoked the key for good at %s: the key has not been used since %s; to issue a new revision, %s",
			audit, instant.Format(a.Since), instant.Format(a.UnusedSince), keep)
		if kept := k.Requests.Kept.Due; kept != nil {
			message += fmt.Sprintf(". The time in the annotation, %s, is before the revocation", instant.Format(kept))
		}
		return v1alpha1.RevokedByAuditReason, message
	case a.Stage == v1alpha1.AuditDisabled && a.NextStageAt != nil:
		return v1alpha1.DisabledByAuditReason, fmt.Sprintf("The %s disabled the key at %s: the key has not been used since %s. The audit revokes the key for good at %s; to keep the key, %s",
			audit, instant.Format(a.Since), instant.Format(a.UnusedSince), instant.Format(a.NextStageAt), keep)
	case a.Stage == v1alpha1.AuditDisabled:
		return v1alpha1.DisabledByAuditReason, fmt.Sprintf("The %s disabled the key at %s: the key has not been used since %s; to enable the key again, %s",
			audit, instant.Format(a.Since), instant.Format(a.UnusedSince), keep)
	case a.NextStageAt != nil:
		return v1alpha1.NotUsedReason, fmt.Sprintf("The key has not been used since %s: the %s disables the key at %s; to keep the key, use it, or %s",
			instant.Format(a.UnusedSince), audit, instant.Format(a.NextStageAt), keep)
	}
	return v1alpha1.NotUsedReason, fmt.Sprintf("The key has not been used since %s: the %s reports unused keys; delete the DGbotAPIKey if no client needs it, or %s", instant.Format(a.UnusedSince), audit, keep)
}
