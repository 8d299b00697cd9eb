// SPDX-License-Identifier: Apache-2.0

package instant

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// TestHorizon_KeepsTheNextInstant that a rule asked about, and none that has come.
func TestHorizon_KeepsTheNextInstant(t *testing.T) {
	h := Horizon{Now: now}
	for _, at := range []time.Time{now.Add(-time.Hour), now} {
		if !h.Reached(at) || !h.Next.IsZero() {
			t.Errorf("%s: reached %t, next %s", at, h.Reached(at), h.Next)
		}
	}
	for _, ahead := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour} {
		if h.Reached(now.Add(ahead)) {
			t.Errorf("an instant in %s has come", ahead)
		}
	}
	h.WakeBy(time.Time{})
	h.WakeBy(now)
	if !h.Next.Equal(now.Add(time.Hour)) {
		t.Errorf("next is %s", h.Next)
	}
	h.WakeBy(now.Add(time.Minute))
	if !h.Next.Equal(now.Add(time.Minute)) {
		t.Errorf("a write to retry in a minute: next is %s", h.Next)
	}
}

func TestParse_TakesWhatTheAPIServerTakes(t *testing.T) {
	for text, want := range map[string]bool{
		"2026-11-23T10:00:00Z": true, "2026-11-23T11:00:00+01:00": true, "1970-01-01T00:00:00Z": true, "8999-12-31T23:59:59Z": true,
		"": false, "now": false, "2026-11-23": false, "2026-11-23T10:00:00": false, "2026-11-23T10:00:00.5Z": false, "2026-11-23t10:00:00z": false,
		"1969-12-31T23:59:59Z": false, "9000-01-01T00:00:00Z": false, "2026-02-30T10:00:00Z": false, "2026-11-23T10:00:00+24:00": false,
		"x2026-11-23T10:00:00Z": false, "2026-11-23T10:00:00Z\n": false,
	} {
		if _, ok := Parse(text); ok != want {
			t.Errorf("%q: %t, want %t", text, ok, want)
		}
	}
	if at, _ := Parse("2026-11-23T11:00:00+01:00"); Format(&at) != "2026-11-23T10:00:00Z" {
		t.Errorf("it becomes %s", Format(&at))
	}
}

// TestEarlier_TakesNilForNever, as Sooner takes zero.
func TestEarlier_TakesNilForNever(t *testing.T) {
	first, second := &metav1.Time{Time: now}, &metav1.Time{Time: now.Add(time.Hour)}
	if Earlier(nil, nil) != nil || Earlier(first, nil) != first || Earlier(nil, first) != first || Earlier(second, first) != first || Earlier(first, second) != first {
		t.Error("Earlier")
	}
	never := time.Time{}
	if !Sooner(never, never).IsZero() || !Sooner(now, never).Equal(now) || !Sooner(never, now).Equal(now) || !Sooner(second.Time, now).Equal(now) {
		t.Error("Sooner")
	}
}

func TestRoundUp_IsNeverShorter(t *testing.T) {
	for from, want := range map[time.Duration]time.Duration{
		0: 0, time.Nanosecond: time.Second, time.Second: time.Second, time.Second + time.Millisecond: 2 * time.Second,
	} {
		if got := RoundUp(from); got != want {
			t.Errorf("%s becomes %s, want %s", from, got, want)
		}
	}
}
