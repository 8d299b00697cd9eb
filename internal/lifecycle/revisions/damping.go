// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"slices"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// Another tool that deletes or restores the Secret again and again, mostly because it believes that it owns it, must not make the
// operator issue revisions without bound, while a few real losses must heal at once.
const (
	dampingWindow = time.Hour
	// DampingFree is how many replacements within dampingWindow are issued at once.
	DampingFree = 20
	// DampingInterval is how far apart the ones after that are.
	DampingInterval = 5 * time.Minute
)

// IsLoss reports whether a revision was issued because the Secret was lost or altered.
func IsLoss(cause v1alpha1.Cause) bool {
	return cause == v1alpha1.CauseSecretLost || cause == v1alpha1.CauseSecretAltered
}

// CountsForDamping reports whether a revision is a replacement of a lost or altered Secret within the last hour. One that was issued
// ahead of now was issued by a clock that has since been set back: counting it would damp until the clock is there again.
func CountsForDamping(r *Revision, h *instant.Horizon) bool {
	return IsLoss(r.Cause) && !h.Reached(r.IssuedAt.Add(dampingWindow)) && h.Reached(r.IssuedAt.Add(-instant.ClockTolerance))
}

// DampedUntil returns when the next replacement of a lost or altered Secret may be issued; a time not after now means at
// once. The count is taken from the records: it survives restarts and is the same for every operator.
func DampedUntil(records []*Revision, h *instant.Horizon) time.Time {
	var issued []time.Time
	for _, record := range records {
		if CountsForDamping(record, h) {
			issued = append(issued, record.IssuedAt.Time)
		}
	}
	if len(issued) < DampingFree {
		return h.Now
	}
	slices.SortFunc(issued, func(a, b time.Time) int { return b.Compare(a) })
	afterInterval := issued[0].Add(DampingInterval)
	belowCount := issued[DampingFree-1].Add(dampingWindow)
	if belowCount.Before(afterInterval) {
		return belowCount
	}
	return afterInterval
}
