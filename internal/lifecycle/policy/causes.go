// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// findLoss returns what happened to the key that should be published; empty if nothing did.
func (p *Planner) findLoss() v1alpha1.Cause {
	switch {
	case p.Published != nil:
		return ""
	case p.Secret.State == revisions.SecretOwned && p.Matched == nil && p.recordLost():
		return v1alpha1.CauseRecordLost
	case !p.everPublished():
		return ""
	case p.Secret.State == revisions.SecretOwned:
		return v1alpha1.CauseSecretAltered
	}
	return v1alpha1.CauseSecretLost
}

// recordLost reports whether the Secret holds a key of this owner whose record is gone. The status shows its ID (only the operator can
// write it), or there is no record left at all to contradict. Any other key text in the Secret counts as junk: SecretAltered.
func (p *Planner) recordLost() bool {
	if p.Secret.KeyID == "" {
		return false
	}
	for _, record := range p.Owned {
		if record.ID == p.Secret.KeyID {
			return false
		}
	}
	current := p.Was.Current
	return len(p.Owned) == 0 || (current != nil && current.ID == p.Secret.KeyID)
}

// everPublished reports whether a revision has been in the Secret. Records alone do not show that: a record is created before its
// revision is published. If the first attempt stopped between the two writes, there is no owned Secret, status.binding is not set, and
// all records are first issues that nothing superseded.
func (p *Planner) everPublished() bool {
	if p.Was.IsBound || p.Was.Current != nil {
		return true
	}
	if p.Secret.State == revisions.SecretOwned && len(p.Owned) > 0 {
		return true
	}
	return slices.ContainsFunc(p.Owned, func(r *revisions.Revision) bool {
		return r.Cause != v1alpha1.CauseFirstIssue || r.SupersededBy != 0
	})
}

// causes are why a revision may be due, whether or not something keeps it from being issued. The first that holds is named on the record:
// one revision serves all of them.
var causes = []struct {
	cause v1alpha1.Cause
	holds func(*Planner) bool
}{
	// The key in the Secret does not verify: nothing is more urgent.
	{v1alpha1.CauseRecordLost, func(p *Planner) bool { return p.loss == v1alpha1.CauseRecordLost }},
	{v1alpha1.CauseFirstIssue, func(p *Planner) bool { return p.Published == nil && p.loss == "" }},
	{v1alpha1.CauseRevocation, (*Planner).isRevocationDue},
	{v1alpha1.CauseReactivation, (*Planner).isRevoked},
	{v1alpha1.CauseExpiryChanged, (*Planner).expiryMovedLater},
	{v1alpha1.CauseRequest, (*Planner).isRotationRequested},
	{v1alpha1.CauseSchedule, (*Planner).isScheduled},
	// A loss comes last because every other cause serves it as well, undamped.
	{v1alpha1.CauseSecretLost, func(p *Planner) bool { return p.loss == v1alpha1.CauseSecretLost }},
	{v1alpha1.CauseSecretAltered, func(p *Planner) bool { return p.loss == v1alpha1.CauseSecretAltered }},
}

// findCause returns why a revision is due; empty where none is.
func (p *Planner) findCause() v1alpha1.Cause {
	for _, rule := range causes {
		if rule.holds(p) {
			return rule.cause
		}
	}
	return ""
}

// isRotationRequested reports whether a request for a rotation covers the newest known revision. With every record the requests that they
// satisfied are forgotten: then a loss is the cause.
func (p *Planner) isRotationRequested() bool {
	reference := p.Reference()
	return reference != nil && p.Requests.Rotate.Covers(p.satisfied(reference))
}

// isRevocationDue reports whether a revocation covers the newest known revision.
func (p *Planner) isRevocationDue() bool {
	reference := p.Reference()
	if reference == nil {
		return false
	}
	if p.isOutlived(reference) {
		return p.Requests.Revoke.Covers(p.satisfied(reference))
	}
	return p.Requests.Revoke.Covers(reference.RevocableFrom())
}

// isRevoked reports whether the newest known revision is revoked, so that the key needs another one to verify again.
func (p *Planner) isRevoked() bool {
	reference := p.Reference()
	return reference != nil && reference.State == v1alpha1.StateRevoked && !p.isOutlived(reference)
}

// expiryMovedLater reports whether the key expires later than its published revision, whose time bound only a new one can move.
func (p *Planner) expiryMovedLater() bool {
	return p.endMayMove() && (p.Wants.ExpiresAt == nil || p.Published.NotAfter.Before(p.Wants.ExpiresAt))
}

func (p *Planner) isScheduled() bool {
	reference := p.Reference()
	if reference == nil {
		return false
	}
	due := p.scheduled(p.satisfied(reference))
	return due != nil && p.Reached(due.Time)
}

// endOf is when a revision issued then ends by the key and by the rules; nil for never.
func (p *Planner) endOf(issuedAt metav1.Time) *metav1.Time {
	if p.Lifetime == 0 {
		return p.Wants.ExpiresAt
	}
	end := metav1.Time{Time: issuedAt.Add(p.Lifetime).UTC().Truncate(time.Second)}
	return instant.Earlier(p.Wants.ExpiresAt, &end)
}

// scheduled returns when a revision issued then is due for rotation by time alone; nil where it is not.
func (p *Planner) scheduled(issuedAt metav1.Time) *metav1.Time {
	due := schedule.Due(p.UID, p.Wants.Rotation.Interval, issuedAt)
	var bound time.Duration
	var last *metav1.Time
	if r := p.Published; r != nil && p.endsByRule(r) && r.IssuedAt.Equal(&issuedAt) {
		// Early enough for the overlap. It may have been issued under a shorter limit than today's.
		life := r.NotAfter.Sub(issuedAt.Time)
		bound = max(life-p.Overlap, life/2)
		last = schedule.SpreadBefore(p.UID, issuedAt, bound)
		due = instant.Earlier(due, last)
	}
	if due == nil || len(p.Environment.Windows) == 0 {
		return due
	}
	from, missed := schedule.Within(p.Environment.Windows, p.UID, due.Time, p.Now)
	p.WakeBy(missed) // then the rotation waits for another window
	switch {
	case bound > 0 && (from.IsZero() || from.After(issuedAt.Add(bound))):
		return last // no rule ends the key in use: not even by keeping it from being replaced
	case from.IsZero():
		return nil
	}
	return &metav1.Time{Time: from}
}

// endsByRule reports whether a rule, and not spec.expiresAt, bounds a revision: a new revision would expire later.
func (p *Planner) endsByRule(r *revisions.Revision) bool {
	end := r.NotAfter
	return p.Lifetime > 0 && end != nil && r.IssuedAt.Before(end) && (p.Wants.ExpiresAt == nil || end.Before(p.Wants.ExpiresAt))
}

// endMayMove reports whether the published revision has an end that only a new one can move. An end that the rules of the environment
// have set is replaced on schedule instead: a longer limit is no reason to replace all keys at once.
func (p *Planner) endMayMove() bool {
	return p.Published != nil && p.Published.NotAfter != nil && (p.Lifetime == 0 || p.Published.Ended(&p.Horizon))
}

// satisfied is when the newest revision was issued that is known of.
func (p *Planner) satisfied(reference *revisions.Revision) metav1.Time {
	if p.isOutlived(reference) {
		return p.Was.Current.IssuedAt
	}
	return reference.IssuedAt
}

// isOutlived reports whether the status remembers a newer revision than the newest record: its record is gone, and the
// requests that it satisfied are judged by what the status says of it.
func (p *Planner) isOutlived(reference *revisions.Revision) bool {
	current := p.Was.Current
	return p.Published == nil && current != nil && current.Number > reference.Number
}

// issuedAt is when a revision issued now counts as issued: later than every request it serves, so that it satisfies
// them and survives the cut-off, and at most a second ahead of now.
func (p *Planner) issuedAt() metav1.Time {
	at := p.Now.UTC().Truncate(time.Second)
	for _, due := range []*metav1.Time{p.Requests.Rotate.Due, p.Requests.Revoke.Due} {
		if due != nil && !at.After(due.Time) {
			at = due.UTC().Add(time.Second)
		}
	}
	return metav1.Time{Time: at}
}
