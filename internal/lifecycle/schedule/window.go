// SPDX-License-Identifier: Apache-2.0

// Package schedule computes when a revision is rotated by time alone: spread by key, and within the windows of its environment.
package schedule

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// The API server adds no defaults to a spec. A default would have no field manager, so Argo CD takes it for the work of a
// mutating webhook and leaves it out of its comparison: a field that Git removes, or never had, could then be set by
// another client without a difference. The functions here are the only places that know what an absent field means.

// defaultTimeZone is the time zone of a window that names none.
const defaultTimeZone = "UTC"

// TimeZoneOf returns the name of a window's time zone. An absent name means UTC.
func TimeZoneOf(window *v1alpha1.RotationWindow) string {
	return cmp.Or(window.TimeZone, defaultTimeZone)
}

// Window is when rotations on schedule may happen.
type Window struct {
	// Days of the week; none for every day.
	Days []v1alpha1.Weekday
	// Start and End are minutes since the day began. End is after Start, and at most 24 hours.
	Start, End int
	// Location is the time zone of the three; nil where it is not known, in which case the window never opens.
	Location *time.Location
}

// WindowsOf returns the windows of an environment's rules, given what finds a time zone by its name: that is read from files.
func WindowsOf(rules *v1alpha1.DGbotEnvironmentSpec, location func(name string) *time.Location) []Window {
	if rules.Rotation == nil {
		return nil
	}
	var windows []Window
	for i := range rules.Rotation.Windows {
		w := &rules.Rotation.Windows[i]
		windows = append(windows, Window{Days: w.Days, Start: minutesOf(w.Start), End: minutesOf(w.End), Location: location(TimeZoneOf(w))})
	}
	return windows
}

// minutesOf reads HH:MM, which the API server has looked at.
func minutesOf(clock string) int {
	if len(clock) != len("00:00") {
		return 0
	}
	hours, _ := strconv.Atoi(clock[:2])
	minutes, _ := strconv.Atoi(clock[3:])
	return hours*60 + minutes
}

// span is one opening of a window: from open up to, and without, shut.
type span struct{ open, shut time.Time }

// searchedDays is more than a week, because on a day on which clocks are set forward a window may not exist.
const searchedDays = 16

// next is the first opening of the window that is not over at a time; ok is false where there is none.
func (w Window) next(after time.Time) (s span, ok bool) {
	if w.Location == nil {
		return span{}, false
	}
	year, month, day := after.In(w.Location).Date()
	for i := range searchedDays {
		noon := time.Date(year, month, day+i, 12, 0, 0, 0, w.Location)
		if len(w.Days) > 0 && !slices.Contains(w.Days, v1alpha1.Weekday(noon.Weekday().String())) {
			continue
		}
		s = span{w.clock(noon, w.Start, false), w.clock(noon, w.End, true)}
		if s.open.Before(s.shut) && s.shut.After(after) {
			return s, true
		}
	}
	return span{}, false
}

// clock is when the clocks show so many minutes on a day. A time that is left out on the day on which they are set forward is the
// moment at which that happens. One that comes twice, on the day on which they are set back, is the first or the last.
func (w Window) clock(day time.Time, minutes int, last bool) time.Time {
	year, month, date := day.Date()
	t := time.Date(year, month, date, 0, minutes, 0, 0, w.Location)
	begins, ends := t.ZoneBounds()
	if asked := time.Date(year, month, date, 0, minutes, 0, 0, time.UTC); t.Day() != asked.Day() || t.Hour() != asked.Hour() || t.Minute() != asked.Minute() {
		// On either side of the moment, whichever of the two offsets time.Date has gone by.
		if ends.IsZero() || !begins.IsZero() && t.Sub(begins) < ends.Sub(t) {
			return begins
		}
		return ends
	}
	_, offset := t.Zone()
	switch {
	case last && !ends.IsZero():
		if _, later := ends.Zone(); later < offset {
			if again := t.Add(time.Duration(offset-later) * time.Second); !again.Before(ends) {
				return again
			}
		}
	case !last && !begins.IsZero():
		if _, earlier := begins.Add(-time.Second).Zone(); earlier > offset {
			if before := t.Add(-time.Duration(earlier-offset) * time.Second); before.Before(begins) {
				return before
			}
		}
	}
	return t
}

// Within is from when on a rotation that was due at a time may happen, as it looks now, and until when that is so: with
// the window it is missed. Zero where no window ever opens. Keys that have waited for a window do not all rotate when it opens,
// but in its first half, spread by key.
func Within(windows []Window, uid types.UID, due, now time.Time) (from, until time.Time) {
	var first *span
	for _, w := range windows {
		if s, ok := w.next(instant.Latest(due, now)); ok && (first == nil || s.open.Before(first.open)) {
			first = &s
		}
	}
	switch {
	case first == nil:
		return time.Time{}, time.Time{}
	case !due.Before(first.open):
		return due, first.shut
	}
	sum := sha256.Sum256([]byte(uid))
	half := max(int64(first.shut.Sub(first.open)/(2*time.Second)), 1)
	return first.open.Add(time.Duration(int64(binary.BigEndian.Uint32(sum[12:]))%half) * time.Second).UTC(), first.shut
}
