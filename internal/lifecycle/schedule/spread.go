// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Due returns when a revision is due for rotation, nil without an interval: a whole number of seconds in
// (0.9, 1.0] of the interval after it was issued. Which one depends on the uid: keys applied together do not rotate
// together, while all operators agree.
func Due(uid types.UID, interval *metav1.Duration, issuedAt metav1.Time) *metav1.Time {
	if interval == nil {
		return nil
	}
	return SpreadBefore(uid, issuedAt, interval.Duration)
}

// SpreadBefore returns a time shortly before the end of an interval: a whole number of seconds in (0.9, 1.0] of it after it began.
func SpreadBefore(uid types.UID, issuedAt metav1.Time, interval time.Duration) *metav1.Time {
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
