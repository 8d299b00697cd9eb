// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// EndOf is when a revision issued then ends by the key and by the rules; nil for never.
func (p *Findings) EndOf(issuedAt metav1.Time) *metav1.Time {
	if p.Lifetime == 0 {
		return p.Wants.ExpiresAt
	}
	end := metav1.Time{Time: issuedAt.Add(p.Lifetime).UTC().Truncate(time.Second)}
	return instant.Earlier(p.Wants.ExpiresAt, &end)
}

// Scheduled returns when a revision issued then is due for rotation by time alone; nil where it is not.
func (p *Findings) Scheduled(issuedAt metav1.Time) *metav1.Time {
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
func (p *Findings) endsByRule(r *revisions.Revision) bool {
	end := r.NotAfter
	return p.Lifetime > 0 && end != nil && r.IssuedAt.Before(end) && (p.Wants.ExpiresAt == nil || end.Before(p.Wants.ExpiresAt))
}

// endMayMove reports whether the published revision has an end that only a new one can move. An end that the rules of the environment
// have set is replaced on schedule instead: a longer limit is no reason to replace all keys at once.
func (p *Findings) endMayMove() bool {
	return p.Published != nil && p.Published.NotAfter != nil && (p.Lifetime == 0 || p.Published.Ended(&p.Horizon))
}

// IssuedAt is when a revision issued now counts as issued: later than every request it serves, so that it satisfies
// them and survives the cut-off, and at most a second ahead of now.
func (p *Findings) IssuedAt() metav1.Time {
	at := p.Now.UTC().Truncate(time.Second)
	for _, due := range []*metav1.Time{p.Requests.Rotate.Due, p.Requests.Revoke.Due} {
		if due != nil && !at.After(due.Time) {
			at = due.UTC().Add(time.Second)
		}
	}
	return metav1.Time{Time: at}
}
