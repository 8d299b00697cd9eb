// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Another tool that deletes or restores the Secret again and again, mostly because it believes that it owns it, must not make the
// operator issue revisions without bound, while a few real losses must heal at once.
const (
	dampingWindow   = time.Hour
	dampingFree     = 20
	dampingInterval = 5 * time.Minute
	// clockTolerance: records issued further ahead than this were issued by a clock that has since been set back.
	// Counting them would damp until the clock is there again.
	clockTolerance = 2 * time.Second
)

func isLoss(cause v1alpha1.Cause) bool {
	return cause == v1alpha1.CauseSecretLost || cause == v1alpha1.CauseSecretAltered
}

// countsForDamping reports whether a revision is a replacement of a lost or altered Secret within the last hour.
func countsForDamping(r *Revision, h *horizon) bool {
	return isLoss(r.Cause) && !h.reached(r.IssuedAt.Add(dampingWindow)) && h.reached(r.IssuedAt.Add(-clockTolerance))
}

// dampedUntil returns when the next replacement of a lost or altered Secret may be issued; a time not after now means at
// once. The count is taken from the records: it survives restarts and is the same for every operator.
func dampedUntil(records []*Revision, h *horizon) time.Time {
	var issued []time.Time
	for _, record := range records {
		if countsForDamping(record, h) {
			issued = append(issued, record.IssuedAt.Time)
		}
	}
	if len(issued) < dampingFree {
		return h.now
	}
	slices.SortFunc(issued, func(a, b time.Time) int { return b.Compare(a) })
	afterInterval := issued[0].Add(dampingInterval)
	belowCount := issued[dampingFree-1].Add(dampingWindow)
	if belowCount.Before(afterInterval) {
		return belowCount
	}
	return afterInterval
}
