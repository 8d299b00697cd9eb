// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxTrackingGap is how long no verifier may have vouched for an environment before uses in it may have been missed.
const MaxTrackingGap = 10 * time.Minute

// Tracking is what the verifiers of an environment vouch for: that a use since Since would have been reported. They say so
// in a Lease, see contract section 6.
type Tracking struct {
	Since time.Time
	// Renewed is when one of them said so last.
	Renewed time.Time
	// Lag is how far behind Renewed the reports of the others may be.
	Lag time.Duration
}

// At says whether the tracking goes on at that time. One that is dated ahead says nothing: the clock behind it is wrong.
func (t *Tracking) At(now time.Time) bool {
	return t != nil && now.Before(t.Renewed.Add(MaxTrackingGap)) && !t.begins().After(now)
}

// proves says whether a use up to a time would have been reported by now, and otherwise when to look again. A Lease proves
// something about the time up to one duration before its renewal, because the other verifiers may be that far behind.
func (t *Tracking) proves(at, now time.Time) (proven bool, again time.Time) {
	known := t.Renewed
	if known.After(now) {
		known = now
	}
	switch by := at.Add(t.Lag); {
	case !by.After(known):
		return true, time.Time{}
	case by.After(now):
		return false, by
	}
	// The Lease has yet to be renewed, which wakes nobody.
	return false, now.Add(max(t.Lag, time.Second))
}

// begins is when the tracking is no longer dated ahead.
func (t *Tracking) begins() time.Time {
	if t.Since.After(t.Renewed) {
		return t.Since.Add(-maxUseAhead)
	}
	return t.Renewed.Add(-maxUseAhead)
}

// trackedSince is since when a use of the revision in use would have been noticed; nil while none would be.
func (p *planner) trackedSince() *metav1.Time {
	if p.matched == nil || !p.Tracking.At(p.now) {
		return nil
	}
	since := metav1.Time{Time: p.Tracking.Since.UTC().Truncate(time.Second)}
	if since.Before(&p.matched.IssuedAt) {
		since = p.matched.IssuedAt
	}
	return &since
}

// trackingChanges are the instants at which the tracking begins and ends by time alone.
func (p *planner) trackingChanges() []*metav1.Time {
	if p.Tracking == nil {
		return nil
	}
	return []*metav1.Time{{Time: p.Tracking.begins()}, {Time: p.Tracking.Renewed.Add(MaxTrackingGap)}}
}
