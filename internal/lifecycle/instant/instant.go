// SPDX-License-Identifier: Apache-2.0

package instant

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClockTolerance is how far ahead of now a time may lie and still count as present: clocks differ, and a request may be made for the
// second in which the current revision was issued, which is up to a second ahead of now.
const ClockTolerance = 2 * time.Second

// Format returns a time as it stands in the API, in UTC.
func Format(at *metav1.Time) string { return at.UTC().Format(time.RFC3339) }

// Whole returns a time in whole seconds, as they stand in the API.
func Whole(at time.Time) metav1.Time { return metav1.Time{Time: at.UTC().Truncate(time.Second)} }

// RoundUp returns a duration in whole seconds that is no shorter.
func RoundUp(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// Earlier returns the earlier of two times of which either may be nil, for never.
func Earlier(a, b *metav1.Time) *metav1.Time {
	if a == nil || (b != nil && b.Before(a)) {
		return b
	}
	return a
}

// Sooner returns the earlier of two times of which zero stands for never.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Latest returns the later of two times.
func Latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
