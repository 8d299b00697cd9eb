// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// actOnRules gives the key's environment other rules, or none.
func (w *walk) actOnRules() {
	env := effective.Environment{Required: w.rng.Intn(2) == 0}
	hours := func(most int) time.Duration { return time.Duration(1+w.rng.Intn(most)) * time.Hour }
	if w.rng.Intn(4) > 0 {
		env.Rules = &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{}}
		r := env.Rules.Rotation
		switch w.rng.Intn(4) {
		case 0:
			r.MinInterval = lasts(hours(40))
		case 1:
			r.MaxInterval = lasts(hours(80))
		case 2:
			r.DefaultInterval = lasts(hours(80))
		}
		if w.rng.Intn(3) == 0 {
			env.Rules.MaxLifetime = lasts(hours(200))
		}
		env.Excluded = w.rng.Intn(4) == 0
	}
	if env.Rules != nil && w.rng.Intn(2) == 0 {
		for range 1 + w.rng.Intn(2) {
			from := w.rng.Intn(22 * 60)
			env.Windows = append(env.Windows, schedule.Window{Start: from, End: from + 1 + w.rng.Intn(120), Location: time.UTC})
		}
	}
	w.sim.Environment = env
	w.note("rules %+v, required %t, excluded %t, windows %v", env.Rules, env.Required, env.Excluded, env.Windows)
}

// intervalByRules is how long a revision may stay, told from spec and rules without the policy; zero for as long as it likes.
func (w *walk) intervalByRules(r *v1alpha1.DGbotAPIKeyRecord) time.Duration {
	var interval time.Duration
	if rotation := w.sim.Key.Spec.Rotation; rotation != nil && rotation.Interval != nil {
		interval = rotation.Interval.Duration
	}
	rules := w.sim.Environment.Rules
	if rules == nil {
		return interval
	}
	switch limits := rules.Rotation; {
	case interval == 0 && limits.DefaultInterval != nil:
		interval = limits.DefaultInterval.Duration
	case interval == 0 && limits.MaxInterval != nil, limits.MaxInterval != nil && interval > limits.MaxInterval.Duration:
		interval = limits.MaxInterval.Duration
	case interval != 0 && limits.MinInterval != nil:
		interval = max(interval, limits.MinInterval.Duration)
	}
	if limit := w.lifetime(); limit > 0 {
		if interval == 0 || interval > limit {
			interval = limit
		}
		if end := r.Spec.NotAfter; end != nil && end.After(r.Spec.IssuedAt.Time) && !end.Equal(w.sim.Key.Spec.ExpiresAt) {
			life := end.Sub(r.Spec.IssuedAt.Time)
			interval = min(interval, max(life-w.overlap(), life/2))
		}
	}
	return interval
}

// lifetime is the limit that the key breaks; zero where it breaks none.
func (w *walk) lifetime() time.Duration {
	rules, end := w.sim.Environment.Rules, w.sim.Key.Spec.ExpiresAt
	if rules == nil || rules.MaxLifetime == nil || end != nil && !end.After(w.sim.Key.CreationTimestamp.Add(rules.MaxLifetime.Duration)) {
		return 0
	}
	return rules.MaxLifetime.Duration
}

// checkRulesOf a revision that is about to be issued: the first breaks none, one on schedule keeps to the windows, and each ends in
// time.
func (w *walk) checkRulesOf(issue steps.IssueRevision) {
	env := &w.sim.Environment
	if env.Rules == nil {
		if issue.Cause == v1alpha1.CauseFirstIssue && env.Required {
			w.failf("a key without the environment that is required is issued for the first time")
		}
		return
	}
	if issue.Cause == v1alpha1.CauseFirstIssue && (env.Excluded || w.lifetime() > 0) {
		w.failf("a key that breaks a rule is issued")
	}
	if limit := w.lifetime(); limit > 0 && (issue.NotAfter == nil || issue.NotAfter.Sub(issue.IssuedAt.Time) > limit) {
		w.failf("revision %d lives until %s, and may live for %s", issue.Revision, issue.NotAfter, limit)
	}
	if issue.Cause != v1alpha1.CauseSchedule || len(env.Windows) == 0 {
		return
	}
	minutes := w.sim.Now.UTC().Hour()*60 + w.sim.Now.UTC().Minute()
	for _, window := range env.Windows {
		if minutes >= window.Start && minutes < window.End {
			return
		}
	}
	// One that would end before the next window is replaced in time for its overlap.
	inUse := w.inUse()
	if w.lifetime() == 0 || inUse == nil || inUse.Spec.NotAfter == nil || w.sim.Now.Sub(inUse.Spec.IssuedAt.Time) < inUse.Spec.NotAfter.Sub(inUse.Spec.IssuedAt.Time)*4/10 {
		w.failf("revision %d is issued on schedule outside of the windows", issue.Revision)
	}
}
