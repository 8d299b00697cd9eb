// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"math/rand"
	"strconv"
	"testing"
	"time"
	_ "time/tzdata"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func instant3339(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestOpeningsOfWindows: in Berlin clocks are set from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
func TestOpeningsOfWindows(t *testing.T) {
	berlin, utc := zone(t, "Europe/Berlin"), time.UTC
	for _, tc := range []struct {
		name, after, open, shut string
		window                  Window
	}{
		{"later today", "2026-11-27T01:00:00Z", "2026-11-27T02:00:00Z", "2026-11-27T04:30:00Z", Window{nil, 120, 270, utc}},
		{"now", "2026-11-27T03:00:00Z", "2026-11-27T02:00:00Z", "2026-11-27T04:30:00Z", Window{nil, 120, 270, utc}},
		{"tomorrow, at its end", "2026-11-27T04:30:00Z", "2026-11-28T02:00:00Z", "2026-11-28T04:30:00Z", Window{nil, 120, 270, utc}},
		{"on Sunday", "2026-11-27T03:00:00Z", "2026-11-29T02:00:00Z", "2026-11-29T04:30:00Z", Window{[]v1alpha1.Weekday{"Sunday"}, 120, 270, utc}},
		{"until midnight", "2026-11-27T22:00:00Z", "2026-11-27T23:00:00Z", "2026-11-28T00:00:00Z", Window{nil, 23 * 60, 24 * 60, utc}},
		{"by another clock", "2026-11-26T23:30:00Z", "2026-11-27T00:00:00Z", "2026-11-27T01:00:00Z", Window{[]v1alpha1.Weekday{"Friday"}, 60, 120, berlin}},
		{"the hour that is left out", "2026-03-28T12:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T01:00:00Z", Window{nil, 120, 180, berlin}},
		{"that begins in it", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", Window{nil, 150, 240, berlin}},
		{"that ends in it", "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", Window{nil, 60, 150, berlin}},
		{"a Sunday that has it not", "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z", "2026-04-05T01:00:00Z", Window{[]v1alpha1.Weekday{"Sunday"}, 120, 180, berlin}},
		{"the hour that comes twice", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", Window{nil, 120, 180, berlin}},
		{"that begins in it twice", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z", Window{nil, 150, 240, berlin}},
		{"that ends in it twice", "2026-10-24T12:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T01:30:00Z", Window{nil, 60, 150, berlin}},
	} {
		got, ok := tc.window.next(instant3339(t, tc.after))
		if want := (span{instant3339(t, tc.open), instant3339(t, tc.shut)}); !ok || !got.open.Equal(want.open) || !got.shut.Equal(want.shut) {
			t.Errorf("%s: %s to %s, want %s to %s", tc.name, got.open.UTC(), got.shut.UTC(), want.open, want.shut)
		}
	}
	if _, ok := (Window{nil, 0, 60, nil}).next(time.Now()); ok {
		t.Error("a window in an unknown time zone opens")
	}
}

// TestOpeningsAreWhatTheClocksShow: minute by minute over the days on which they are set, in zones that do it in other ways. In
// Lord Howe they are set by half an hour, in São Paulo it was done at midnight, and Samoa once left out a day.
func TestOpeningsAreWhatTheClocksShow(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for name, from := range map[string]string{
		"Europe/Berlin": "2026-03-28T00:00:00Z", "America/New_York": "2026-10-31T00:00:00Z", "Australia/Lord_Howe": "2026-04-03T00:00:00Z",
		"America/Sao_Paulo": "2018-11-03T00:00:00Z", "Pacific/Apia": "2011-12-29T00:00:00Z", "Asia/Kolkata": "2026-03-28T00:00:00Z",
	} {
		location, begin := zone(t, name), instant3339(t, from)
		for i := range 40 {
			start := random.Intn(24 * 60)
			if i%2 == 0 {
				start = random.Intn(4 * 60) // where clocks are set
			}
			w := Window{nil, start, start + 1 + random.Intn(24*60-start), location}
			if random.Intn(2) == 0 {
				w.Days = []v1alpha1.Weekday{v1alpha1.Weekday(begin.AddDate(0, 0, random.Intn(3)).Weekday().String())}
			}
			for at := begin; at.Before(begin.Add(72 * time.Hour)); at = at.Add(time.Minute) {
				local := at.In(location)
				minutes := local.Hour()*60 + local.Minute()
				shown := minutes >= w.Start && minutes < w.End && (len(w.Days) == 0 || w.Days[0] == v1alpha1.Weekday(local.Weekday().String()))
				s, ok := w.next(at)
				if open := ok && !s.open.After(at); open != shown && !twice(location, at) {
					t.Fatalf("%s, %v from %d to %d: open at %s is %t, the clocks show %s (%s to %s)", name, w.Days, w.Start, w.End, at, open, local, s.open, s.shut)
				}
			}
		}
	}
}

// twice reports whether clocks are set back around a time: between the two times at which they show the same, a window is open
// that would be shut by the clocks alone.
func twice(location *time.Location, at time.Time) bool {
	_, before := at.Add(-2 * time.Hour).In(location).Zone()
	_, after := at.Add(2 * time.Hour).In(location).Zone()
	return before > after
}

func TestRotationsWaitForWindows(t *testing.T) {
	now := time.Now()
	night := []Window{{nil, 60, 180, time.UTC}, {[]v1alpha1.Weekday{"Saturday"}, 12 * 60, 13 * 60, time.UTC}}
	for name, tc := range map[string]struct{ due, now, from, until string }{
		"due within one":          {"2026-11-28T01:30:00Z", "2026-11-27T12:00:00Z", "2026-11-28T01:30:00Z", "2026-11-28T01:30:00Z"},
		"due before one":          {"2026-11-27T20:00:00Z", "2026-11-27T12:00:00Z", "2026-11-28T01:00:00Z", "2026-11-28T02:00:00Z"},
		"due, and one is open":    {"2026-11-27T20:00:00Z", "2026-11-28T02:30:00Z", "2026-11-28T01:00:00Z", "2026-11-28T02:00:00Z"},
		"due, and it was missed":  {"2026-11-27T20:00:00Z", "2026-11-28T03:00:00Z", "2026-11-28T12:00:00Z", "2026-11-28T12:30:00Z"},
		"due within one, missed":  {"2026-11-28T01:30:00Z", "2026-11-28T13:00:00Z", "2026-11-29T01:00:00Z", "2026-11-29T02:00:00Z"},
		"due in the far future":   {"2027-06-01T00:00:00Z", "2026-11-27T12:00:00Z", "2027-06-01T01:00:00Z", "2027-06-01T02:00:00Z"},
		"due when one has closed": {"2026-11-28T03:00:00Z", "2026-11-27T12:00:00Z", "2026-11-28T12:00:00Z", "2026-11-28T12:30:00Z"},
	} {
		spread := map[time.Time]bool{}
		for i := range 50 {
			at, _ := Within(night, types.UID(strconv.Itoa(i)), instant3339(t, tc.due), instant3339(t, tc.now))
			if at.Before(instant3339(t, tc.from)) || at.After(instant3339(t, tc.until)) {
				t.Errorf("%s: at %s, want %s to %s", name, at, tc.from, tc.until)
			}
			spread[at] = true
		}
		if want := tc.from != tc.until; (len(spread) > 20) != want {
			t.Errorf("%s: 50 keys at %d instants", name, len(spread))
		}
	}
	if at, _ := Within([]Window{{nil, 60, 180, nil}}, "a", now, now); !at.IsZero() {
		t.Errorf("in an unknown time zone: %s", at)
	}
}
