// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// IsTracked reports whether uses of the key are tracked now.
func (k *Known) IsTracked() bool { return k.Tracking.ActiveAt(&k.Horizon) }

// IsProven reports whether verifiers would have reported a use of the key up to a time by now.
func (k *Known) IsProven(at time.Time) bool { return k.Tracking.IsProven(at, &k.Horizon) }

// TrackedSince is since when a use of the revision in use would have been noticed; nil while none would be.
func (k *Known) TrackedSince() *metav1.Time {
	if k.Matched == nil || !k.IsTracked() {
		return nil
	}
	since := metav1.Time{Time: k.Tracking.Since.UTC().Truncate(time.Second)}
	if since.Before(&k.Matched.IssuedAt) {
		since = k.Matched.IssuedAt
	}
	return &since
}

// LastUseOfAny returns the newest use of the key. What the status shows stays: the record that showed it may be deleted.
func (k *Known) LastUseOfAny() *metav1.Time {
	newest := k.Was.LastUsedAt
	for _, record := range k.Owned {
		if at := tracking.LastUse(record, &k.Horizon); at != nil && (newest == nil || newest.Before(at)) {
			newest = at
		}
	}
	return newest
}
