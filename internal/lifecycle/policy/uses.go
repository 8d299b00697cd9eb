// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// isTracked reports whether uses of the key are tracked now.
func (p *Planner) isTracked() bool { return p.Tracking.ActiveAt(&p.Horizon) }

// isProven reports whether verifiers would have reported a use of the key up to a time by now.
func (p *Planner) isProven(at time.Time) bool { return p.Tracking.IsProven(at, &p.Horizon) }

// TrackedSince is since when a use of the revision in use would have been noticed; nil while none would be.
func (p *Planner) TrackedSince() *metav1.Time {
	if p.Matched == nil || !p.isTracked() {
		return nil
	}
	since := metav1.Time{Time: p.Tracking.Since.UTC().Truncate(time.Second)}
	if since.Before(&p.Matched.IssuedAt) {
		since = p.Matched.IssuedAt
	}
	return &since
}

// LastUseOfAny returns the newest use of the key. What the status shows stays: the record that showed it may be deleted.
func (p *Planner) LastUseOfAny() *metav1.Time {
	newest := p.Was.LastUsedAt
	for _, record := range p.Owned {
		if at := tracking.LastUse(record, &p.Horizon); at != nil && (newest == nil || newest.Before(at)) {
			newest = at
		}
	}
	return newest
}
