// SPDX-License-Identifier: Apache-2.0

package due

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// EndOf is when a revision issued then ends by the key and by the rules; nil for never.
func (f *Findings) EndOf(issuedAt metav1.Time) *metav1.Time {
	if f.Lifetime == 0 {
		return f.Wants.ExpiresAt
	}
	end := metav1.Time{Time: issuedAt.Add(f.Lifetime).UTC().Truncate(time.Second)}
	return instant.Earlier(f.Wants.ExpiresAt, &end)
}

// Scheduled returns when a revision issued then is due for rotation by time alone; nil where it is not.
func (f *Findings) Scheduled(issuedAt metav1.Time) *metav1.Time {
	due := schedule.Due(f.UID, f.Wants.Rotation.Interval, issuedAt)
	var bound time.Duration
	var last *metav1.Time
	if r := f.Published; r != nil && f.endsByRule(r) && r.IssuedAt.Equal(&issuedAt) {
		// Early enough for the overlap. It may have been issued under a shorter limit than today's.
		life := r.NotAfter.Sub(issuedAt.Time)
		bound = max(life-f.Overlap, life/2)
		last = schedule.SpreadBefore(f.UID, issuedAt, bound)
		due = instant.Earlier(due, last)
	}
	if due == nil || len(f.Environment.Windows) == 0 {
		return due
	}
	from, missed := schedule.Within(f.Environment.Windows, f.UID, due.Time, f.Now)
	f.WakeBy(missed) // then the rotation waits for another window
	switch {
	case bound > 0 && (from.IsZero() || from.After(issuedAt.Add(bound))):
		return last // no rule ends the key in use: not even by keeping it from being replaced
	case from.IsZero():
		return nil
	}
	return &metav1.Time{Time: from}
}

// endsByRule reports whether a rule, and not spec.expiresAt, bounds a revision: a new revision would expire later.
func (f *Findings) endsByRule(r *revisions.Revision) bool {
	end := r.NotAfter
	return f.Lifetime > 0 && end != nil && r.IssuedAt.Before(end) && (f.Wants.ExpiresAt == nil || end.Before(f.Wants.ExpiresAt))
}

// endMayMove reports whether the published revision has an end that only a new one can move. An end that the rules of the environment
// have set is replaced on schedule instead: a longer limit is no reason to replace all keys at once.
func (f *Findings) endMayMove() bool {
	return f.Published != nil && f.Published.NotAfter != nil && (f.Lifetime == 0 || f.Published.Ended(&f.Horizon))
}

// IssuedAt is when a revision issued now counts as issued: later than every request it serves, so that it satisfies
// them and survives the cut-off, and at most a second ahead of now.
func (f *Findings) IssuedAt() metav1.Time {
	at := f.Now.UTC().Truncate(time.Second)
	for _, due := range []*metav1.Time{f.Requests.Rotate.Due, f.Requests.Revoke.Due} {
		if due != nil && !at.After(due.Time) {
			at = due.UTC().Add(time.Second)
		}
	}
	return metav1.Time{Time: at}
}
