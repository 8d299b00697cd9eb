// SPDX-License-Identifier: Apache-2.0

package display

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// TimeText formats a time relative to now, or in RFC 3339 if now is zero. It returns an empty text for nil.
func TimeText(at *metav1.Time, now time.Time) string {
	switch {
	case at == nil:
		return ""
	case now.IsZero():
		return at.UTC().Format(time.RFC3339)
	case at.After(now.Add(instant.ClockTolerance)):
		return "in " + duration.HumanDuration(at.Sub(now))
	}
	return duration.HumanDuration(max(0, now.Sub(at.Time))) + " ago"
}

// DueText is TimeText for a time at which the operator acts: "now" if that time has come.
func DueText(at *metav1.Time, now time.Time) string {
	if at != nil && !now.IsZero() && !at.After(now.Add(instant.ClockTolerance)) {
		return "now"
	}
	return TimeText(at, now)
}

// ForText returns for how long something has been so since a time, such as "for 3d"; if now is zero, "since" and the time in RFC 3339. It returns
// an empty text for nil.
func ForText(since *metav1.Time, now time.Time) string {
	switch {
	case since == nil:
		return ""
	case now.IsZero():
		return "since " + TimeText(since, now)
	}
	return "for " + duration.HumanDuration(max(0, now.Sub(since.Time)))
}

// Counted returns a number with its noun, such as "2 keys".
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// WereCounted returns a number with its noun and verb, such as "2 files were".
func WereCounted(n int, what string) string {
	if n == 1 {
		return Counted(n, what) + " was"
	}
	return Counted(n, what) + " were"
}
