// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

const defaultOverlap = 24 * time.Hour

// Overlap returns how long earlier revisions of a key go on verifying after a newer one is published, without the rules of its
// environment. See desired.overlap.
func Overlap(spec *v1alpha1.DGbotAPIKeySpec) time.Duration {
	d := desiredBy(spec)
	return d.overlap()
}

// overlap returns how long earlier revisions go on verifying, in whole seconds: spec.rotation.overlap, or 24h, or half
// the interval where that is shorter, and no more than the maxOverlap of WhenUnused. Fractions of a second count as a whole
// one, so that nothing expires early.
func (d *desired) overlap() time.Duration {
	overlap := defaultOverlap
	switch r := &d.rotation; {
	case r.Overlap != nil:
		overlap = r.Overlap.Duration
	case r.Interval != nil:
		overlap = min(overlap, r.Interval.Duration/2)
	}
	if most := d.rotation.MaxOverlap; d.whenUnused() && most != nil {
		overlap = min(overlap, most.Duration)
	}
	return seconds(overlap)
}

// seconds is a duration in whole seconds, and no shorter than it was.
func seconds(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// scheduledAfter returns when a revision is due for rotation, nil without an interval: a whole number of seconds in
// (0.9, 1.0] of the interval after it was issued. Which one depends on the uid: keys applied together do not rotate
// together, while all operators agree.
func scheduledAfter(uid types.UID, interval *metav1.Duration, issuedAt metav1.Time) *metav1.Time {
	if interval == nil {
		return nil
	}
	return spreadBefore(uid, issuedAt, interval.Duration)
}

// spreadBefore is a whole number of seconds in (0.9, 1.0] of an interval after a time.
func spreadBefore(uid types.UID, issuedAt metav1.Time, interval time.Duration) *metav1.Time {
	// Choosing among the whole seconds within the bounds, rather than rounding a fraction, cannot leave them.
	latest := int64(interval / time.Second)
	earliest := int64((interval-interval/10)/time.Second) + 1
	if earliest > latest {
		earliest = latest
	}
	sum := sha256.Sum256([]byte(uid))
	seconds := earliest + int64(binary.BigEndian.Uint32(sum[8:]))%(latest-earliest+1)
	return &metav1.Time{Time: issuedAt.Add(time.Duration(seconds) * time.Second)}
}
