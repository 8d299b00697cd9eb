// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// usageGhost is the walk's own account of uses.
type usageGhost struct {
	// up reports whether verifiers report, and since when they do without a gap.
	up    bool
	since time.Time
	// used is the last use of each revision, reported or not.
	used map[int64]time.Time
	// retired counts the revisions that ended before maxOverlap because they were not used.
	retired int
}

// actOnUsage changes how earlier revisions are retired, or what is known of their use.
func (w *walk) actOnUsage(choice int) {
	r := w.rotation()
	switch choice {
	case 27:
		r.Retire, r.QuietPeriod = v1alpha1.RetireWhenUnused, duration(time.Duration(w.rng.Intn(3600))*time.Second)
		r.MaxOverlap = duration(w.overlap() + time.Duration(w.rng.Intn(48*3600))*time.Second)
		w.note("retired when unused for %s, at the latest after %s", r.QuietPeriod.Duration, r.MaxOverlap.Duration)
	case 28:
		if w.rng.Intn(3) == 0 {
			r.Retire = v1alpha1.RetireAfterOverlap
			w.note("retired after the overlap")
		}
	case 29:
		w.usage.up = !w.usage.up
		w.note("verifiers report: %v", w.usage.up)
		w.renew()
	default:
		w.useSomething()
	}
}

// renew is what verifiers do where they report: they report what they have noticed and could not report, and vouch, anew where
// there was a gap.
func (w *walk) renew() {
	if !w.usage.up {
		return
	}
	for i := range w.sim.Records {
		record := &w.sim.Records[i]
		used, ok := w.usage.used[record.Spec.Revision]
		if ok && (record.Status.LastUsedAt == nil || record.Status.LastUsedAt.Time.Before(used)) {
			record.Status.LastUsedAt, record.Status.Resolution = at(used), duration(testResolution)
		}
	}
	now := w.sim.Now.UTC().Truncate(time.Second)
	if t := w.sim.Tracking; t == nil || now.Sub(t.Renewed) > tracking.MaxTrackingGap || t.Since.After(now) {
		w.usage.since = now
	}
	w.sim.Tracking = &tracking.Tracking{Since: w.usage.since, Renewed: now, Lag: testLag}
}

// useSomething uses a revision that verifies; it is reported where verifiers do that.
func (w *walk) useSomething() {
	if len(w.sim.Records) == 0 {
		return
	}
	record := &w.sim.Records[w.rng.Intn(len(w.sim.Records))]
	if standing.Admit(record, w.sim.Now) != standing.Admitted {
		return
	}
	if w.usage.used == nil {
		w.usage.used = map[int64]time.Time{}
	}
	w.usage.used[record.Spec.Revision] = w.sim.Now
	if w.usage.up {
		w.renew()
		record.Status.LastUsedAt, record.Status.Resolution = at(w.sim.Now), duration(testResolution)
	}
	w.note("revision %d used, reported: %v", record.Spec.Revision, w.usage.up)
}

// checkRetirement judges an end that was moved: a revision that a client uses ends for a reason other than disuse.
func (w *walk) checkRetirement(before, after *v1alpha1.DGbotAPIKeyRecord) {
	r := w.sim.Key.Spec.Rotation
	if r == nil || r.Retire != v1alpha1.RetireWhenUnused || after.Spec.NotAfter == nil || before.Spec.NotAfter.Equal(after.Spec.NotAfter) {
		return
	}
	end, now := after.Spec.NotAfter.Time, w.sim.Now
	next := w.record(revisions.SupersededBy(after))
	if next == nil || after.Spec.NotAfter.Equal(w.sim.Key.Spec.ExpiresAt) || end.Equal(next.Spec.IssuedAt.Add(w.maxOverlap())) || !end.After(now) {
		return // the hard end, expiry, or one that was due otherwise: the limit, and what was never published
	}
	if w.clockSetBack {
		return // durations are not those of one clock then
	}
	w.usage.retired++
	if !w.usage.up && now.Sub(w.sim.Tracking.Renewed) >= tracking.MaxTrackingGap {
		w.failf("revision %d was retired although no verifier reports", after.Spec.Revision)
	}
	if now.Sub(w.usage.since) < r.QuietPeriod.Duration {
		w.failf("revision %d was retired %s after reports began", after.Spec.Revision, now.Sub(w.usage.since))
	}
	if now.Sub(next.Spec.IssuedAt.Time) < w.overlap() {
		w.failf("revision %d was retired within its overlap", after.Spec.Revision)
	}
	if used, ok := w.usage.used[after.Spec.Revision]; ok && !used.Before(w.usage.since) && now.Sub(used) < r.QuietPeriod.Duration {
		w.failf("revision %d was retired %s after a use", after.Spec.Revision, now.Sub(used))
	}
}

// overlap is how long earlier revisions go on verifying under the rules of the environment.
func (w *walk) overlap() time.Duration {
	return gates.Assess(w.sim.facts(w.sim.Now)).Overlap
}

func (w *walk) maxOverlap() time.Duration {
	most := w.sim.Key.Spec.Rotation.MaxOverlap.Duration
	return (most + time.Second - 1).Truncate(time.Second)
}

// checkLingering asserts that what goes on beyond its overlap is named, and nothing else.
func (w *walk) checkLingering(status *v1alpha1.DGbotAPIKeyStatus) {
	r := w.sim.Key.Spec.Rotation
	condition := apimeta.FindStatusCondition(status.Conditions, v1alpha1.PreviousRevisionInUseCondition)
	if condition != nil && (r == nil || r.Retire != v1alpha1.RetireWhenUnused) {
		w.failf("without WhenUnused: %s", condition.Message)
	}
	inUse := w.inUse()
	if r == nil || r.Retire != v1alpha1.RetireWhenUnused || inUse == nil || inUse.Spec.Revision != w.lastPublished {
		return
	}
	for i := range w.sim.Records {
		record := &w.sim.Records[i]
		next := w.record(revisions.SupersededBy(record))
		if next == nil || revisions.SupersededBy(inUse) != 0 || !standing.Of(record).Verifies(w.sim.Now) || record.Spec.Revision >= w.lastPublished {
			continue
		}
		if record.Spec.NotAfter == nil || record.Spec.NotAfter.After(next.Spec.IssuedAt.Add(w.maxOverlap())) {
			w.failf("revision %d outlives maxOverlap: %s", record.Spec.Revision, record.Spec.NotAfter)
		}
		if w.sim.Tracking == nil && !w.sim.Now.Before(next.Spec.IssuedAt.Add(w.overlap())) && condition == nil {
			w.failf("revision %d goes on beyond its overlap, and nothing says so", record.Spec.Revision)
		}
	}
}
