// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"math/rand"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// habit is how a key is used in the course of a year.
type habit struct {
	// used reports whether a client uses it in an hour of the year.
	used func(hour int, rng *rand.Rand) bool
	// kept are the hours in which a user decides to keep it.
	kept []int
	// exempt until that hour; zero for not.
	exempt int
	// ends are the stage and the number of revisions at the end of the year. Negative revisions: any number.
	ends v1alpha1.AuditStage
	// reaches are the hours by which each stage has been reached for the first time.
	reaches map[v1alpha1.AuditStage]int
}

const hoursOfDay = 24

func never(int, *rand.Rand) bool { return false }

func until(last int) func(int, *rand.Rand) bool {
	return func(hour int, _ *rand.Rand) bool { return hour < last && hour%12 == 0 }
}

// habits are given in hours. The audit warns after 60 days, disables after 80 and revokes after 110.
var habits = map[string]habit{
	"every hour":              {used: func(int, *rand.Rand) bool { return true }},
	"now and then":            {used: func(_ int, rng *rand.Rand) bool { return rng.Intn(200) == 0 }},
	"once a quarter":          {used: func(hour int, _ *rand.Rand) bool { return hour%(75*hoursOfDay) == 0 }, ends: v1alpha1.AuditUnused, reaches: map[v1alpha1.AuditStage]int{v1alpha1.AuditUnused: 62 * hoursOfDay}},
	"never":                   {used: never, ends: v1alpha1.AuditRevoked, reaches: map[v1alpha1.AuditStage]int{v1alpha1.AuditUnused: 61 * hoursOfDay, v1alpha1.AuditDisabled: 81 * hoursOfDay, v1alpha1.AuditRevoked: 112 * hoursOfDay}},
	"for a month":             {used: until(30 * hoursOfDay), ends: v1alpha1.AuditRevoked, reaches: map[v1alpha1.AuditStage]int{v1alpha1.AuditRevoked: 143 * hoursOfDay}},
	"never, kept when warned": {used: never, kept: []int{70 * hoursOfDay, 140 * hoursOfDay, 210 * hoursOfDay, 280 * hoursOfDay, 345 * hoursOfDay}},
	"never, kept when disabled": {used: never, kept: []int{90 * hoursOfDay, 180 * hoursOfDay, 270 * hoursOfDay, 355 * hoursOfDay},
		reaches: map[v1alpha1.AuditStage]int{v1alpha1.AuditDisabled: 81 * hoursOfDay}},
	"never, kept when revoked": {used: never, kept: []int{200 * hoursOfDay}, ends: v1alpha1.AuditRevoked,
		reaches: map[v1alpha1.AuditStage]int{v1alpha1.AuditRevoked: 112 * hoursOfDay}},
	"never, exempt for half a year": {used: never, exempt: 180 * hoursOfDay, ends: v1alpha1.AuditRevoked,
		reaches: map[v1alpha1.AuditStage]int{v1alpha1.AuditUnused: 181 * hoursOfDay, v1alpha1.AuditDisabled: 202 * hoursOfDay, v1alpha1.AuditRevoked: 233 * hoursOfDay}},
}

// TestAYearOfAuditAndWindows lives a year of each habit, hour by hour, with and without verifiers that fail for some time.
// With -short only with: an outage is where an account of uses goes wrong.
func TestAYearOfAuditAndWindows(t *testing.T) {
	for name, h := range habits {
		for _, outages := range []bool{true, false}[:Rounds(2, 1)] {
			y := newYear(t, name, h, outages)
			for y.hour = range 365 * hoursOfDay {
				y.live()
				if t.Failed() {
					return
				}
			}
			y.finish()
		}
	}
}

// year is one key in its year, and an account of its own of what happened to it.
type year struct {
	*audited
	name    string
	habit   habit
	outages bool
	rng     *rand.Rand
	hour    int
	// lastUse and lastKept are hours; reportsFrom is the hour since which verifiers have reported without a gap.
	lastUse, lastKept, reportsFrom int
	stage                          v1alpha1.AuditStage
	stageFrom                      int
	reached                        map[v1alpha1.AuditStage]int
	scheduled                      int
}

func newYear(t *testing.T, name string, h habit, outages bool) *year {
	y := &year{name: name, habit: h, outages: outages, rng: rand.New(rand.NewSource(7)), reached: map[v1alpha1.AuditStage]int{}}
	key := testKey(types.UID(name))
	rules := &v1alpha1.DGbotEnvironmentSpec{
		Audit:    &v1alpha1.EnvironmentAudit{UnusedAfter: lasts(60 * day), DisableAfter: lasts(80 * day), RevokeAfter: lasts(110 * day)},
		Rotation: &v1alpha1.EnvironmentRotation{DefaultInterval: lasts(20 * day)},
	}
	if h.exempt > 0 {
		rules.Audit.Exemptions = []v1alpha1.AuditExemption{{Name: key.Name, Namespace: key.Namespace, Until: at(start.Add(time.Duration(h.exempt) * time.Hour))}}
	}
	env := effective.Environment{Rules: rules, Windows: []schedule.Window{{Days: []v1alpha1.Weekday{"Tuesday", "Thursday"}, Start: 9 * 60, End: 15 * 60, Location: time.UTC}}}
	y.audited = &audited{t: t, Simulation: &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}, Environment: env}, Now: start}}
	return y
}

func (y *year) failf(format string, args ...any) {
	y.t.Helper()
	y.t.Errorf("%s (outages: %t), day %d, hour %d: "+format, append([]any{y.name, y.outages, y.hour / hoursOfDay, y.hour % hoursOfDay}, args...)...)
}

// live lives an hour.
func (y *year) live() {
	y.Now = start.Add(time.Duration(y.hour) * time.Hour)
	out := y.outages && y.hour%(130*hoursOfDay) > 128*hoursOfDay
	switch {
	case out:
		y.silent, y.missed, y.reportsFrom = true, true, y.hour+1
	default:
		y.silent = false
	}
	y.renew()
	for _, hour := range y.habit.kept {
		if hour == y.hour {
			metav1.SetMetaDataAnnotation(&y.Key.ObjectMeta, v1alpha1.KeptAtAnnotation, instant.Format(at(y.Now)))
			y.lastKept = y.hour
		}
	}
	y.settle()
	if newest := y.newest(); newest != nil && y.habit.used(y.hour, y.rng) && standing.Admit(newest, y.Now) == standing.Admitted {
		y.lastUse = y.hour
		if !out {
			newest.Status.LastUsedAt, newest.Status.Resolution = at(y.Now), duration(testResolution)
			y.settle()
		}
	}
	y.judge()
}

func (y *year) newest() *v1alpha1.DGbotAPIKeyRecord {
	if len(y.Records) == 0 {
		return nil
	}
	return &y.Records[len(y.Records)-1]
}

// settle carries plans out, and judges each revision that is issued.
func (y *year) settle() {
	taken, err := y.Settle()
	if err != nil {
		y.t.Fatal(err)
	}
	for _, step := range taken {
		issue, ok := step.(steps.IssueRevision)
		if !ok {
			continue
		}
		switch issue.Cause {
		case v1alpha1.CauseFirstIssue:
			if y.hour != 0 {
				y.failf("a first issue")
			}
		case v1alpha1.CauseSchedule:
			y.scheduled++
			if weekday, hour := y.Now.Weekday(), y.Now.Hour(); weekday != time.Tuesday && weekday != time.Thursday || hour < 9 || hour >= 15 {
				y.failf("rotated outside of the windows, on %s", y.Now)
			}
		case v1alpha1.CauseReactivation:
			if y.lastKept != y.hour || y.stage != v1alpha1.AuditRevoked {
				y.failf("issued anew at stage %q", y.stage)
			}
		default:
			y.failf("issued for %s", issue.Cause)
		}
	}
}

// judge asserts what the stage may be by what happened to the key.
func (y *year) judge() {
	was, is := y.stage, environments.StageOf(&y.Key.Status)
	idle := min(y.hour-y.lastUse, y.hour-y.lastKept)
	own := y.hour - y.stageFrom
	if is != was {
		if _, before := y.reached[is]; !before {
			y.reached[is] = y.hour
		}
		y.stage, y.stageFrom = is, y.hour
	}
	const unusedAfter, disableAfter, revokeAfter = 60 * hoursOfDay, 80 * hoursOfDay, 110 * hoursOfDay
	tracked := y.hour - y.reportsFrom
	switch {
	case is == v1alpha1.AuditUnused && was != is && (idle < unusedAfter || tracked < unusedAfter || was != ""):
		y.failf("stage %s after %q: idle for %d hours, reported for %d", is, was, idle, tracked)
	case is == v1alpha1.AuditDisabled && was != is && (was != v1alpha1.AuditUnused || idle < disableAfter || tracked < disableAfter || own < disableAfter-unusedAfter):
		y.failf("stage %s after %d hours of %q: idle for %d hours, reported for %d", is, own, was, idle, tracked)
	case is == v1alpha1.AuditRevoked && was != is && (was != v1alpha1.AuditDisabled || idle < revokeAfter || tracked < revokeAfter-disableAfter || own < revokeAfter-disableAfter):
		y.failf("stage %s after %d hours of %q: idle for %d hours, reported for %d", is, own, was, idle, tracked)
	case is == "" && was == v1alpha1.AuditUnused && idle > 0 && tracked > 0 && !y.silent:
		y.failf("the warning was taken back, idle for %d hours", idle)
	case is == "" && (was == v1alpha1.AuditDisabled || was == v1alpha1.AuditRevoked) && y.lastKept != y.hour:
		y.failf("stage %s was taken back, kept %d hours ago", was, y.hour-y.lastKept)
	case is != "" && y.hour < y.habit.exempt:
		y.failf("stage %s of a key that is exempt", is)
	}
	verifies := standing.Admit(y.newest(), y.Now) == standing.Admitted
	if acted := is == v1alpha1.AuditDisabled || is == v1alpha1.AuditRevoked; verifies == acted {
		y.failf("the key verifies: %t, at stage %q", verifies, is)
	}
	if age := y.Now.Sub(y.newest().Spec.IssuedAt.Time); verifies && y.stageFrom < y.hour-8*hoursOfDay && age > 20*day+8*day {
		y.failf("the key is %s old", age)
	}
}

// finish asserts that everything has come that had to.
func (y *year) finish() {
	if !y.outages && y.stage != y.habit.ends {
		y.failf("stage %q, want %q", y.stage, y.habit.ends)
	}
	for _, stage := range []v1alpha1.AuditStage{v1alpha1.AuditUnused, v1alpha1.AuditDisabled, v1alpha1.AuditRevoked} {
		by, wanted := y.habit.reaches[stage]
		hour, reached := y.reached[stage]
		if wanted && !y.outages && (!reached || hour > by) {
			y.failf("stage %s was reached: %t, on day %d, want by day %d", stage, reached, hour/hoursOfDay, by/hoursOfDay)
		}
	}
	if y.stage == "" && y.habit.kept == nil && (y.scheduled < 13 || y.scheduled > 19) {
		y.failf("%d rotations on schedule", y.scheduled)
	}
}
