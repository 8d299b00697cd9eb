// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isTracked reports whether uses of the key are tracked now.
func (p *planner) isTracked() bool { return p.Tracking.at(&p.horizon) }

// isProven reports whether verifiers would have reported a use of the key up to a time by now.
func (p *planner) isProven(at time.Time) bool { return p.Tracking.isProven(at, &p.horizon) }

// trackedSince is since when a use of the revision in use would have been noticed; nil while none would be.
func (p *planner) trackedSince() *metav1.Time {
	if p.matched == nil || !p.isTracked() {
		return nil
	}
	since := metav1.Time{Time: p.Tracking.Since.UTC().Truncate(time.Second)}
	if since.Before(&p.matched.IssuedAt) {
		since = p.matched.IssuedAt
	}
	return &since
}

// lastUseOfAny returns the newest use of the key. What the status shows stays: the record that showed it may be deleted.
func (p *planner) lastUseOfAny() *metav1.Time {
	newest := p.was.lastUsedAt
	for _, record := range p.live {
		if at := lastUse(record, &p.horizon); at != nil && (newest == nil || newest.Before(at)) {
			newest = at
		}
	}
	return newest
}
