// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// defaultQuietPeriod is for how long an earlier revision must not have been used.
const defaultQuietPeriod = time.Hour

// WhenUnused reports whether earlier revisions verify until they are no longer used.
func (d *Desired) WhenUnused() bool { return retireOf(&d.Rotation) == v1alpha1.RetireWhenUnused }

// QuietPeriod returns for how long an earlier revision must not have been used before it is retired.
func (d *Desired) QuietPeriod() time.Duration {
	if quiet := d.Rotation.QuietPeriod; quiet != nil {
		return quiet.Duration
	}
	return defaultQuietPeriod
}

// MaxOverlap returns how long earlier revisions verify at most, in whole seconds.
func (d *Desired) MaxOverlap() time.Duration {
	if most := d.Rotation.MaxOverlap; d.WhenUnused() && most != nil {
		return instant.RoundUp(most.Duration)
	}
	return d.Overlap()
}

const defaultOverlap = 24 * time.Hour

// OverlapOf returns how long earlier revisions of a key go on verifying after a newer one is published, without the rules of its
// environment. See Desired.Overlap.
func OverlapOf(spec *v1alpha1.DGbotAPIKeySpec) time.Duration {
	d := DesiredBy(spec)
	return d.Overlap()
}

// Overlap returns how long earlier revisions go on verifying, in whole seconds: spec.rotation.overlap, or 24h, or half
// the interval where that is shorter, and no more than the maxOverlap of WhenUnused. Fractions of a second count as a whole
// one, so that nothing expires early.
func (d *Desired) Overlap() time.Duration {
	overlap := defaultOverlap
	switch r := &d.Rotation; {
	case r.Overlap != nil:
		overlap = r.Overlap.Duration
	case r.Interval != nil:
		overlap = min(overlap, r.Interval.Duration/2)
	}
	if most := d.Rotation.MaxOverlap; d.WhenUnused() && most != nil {
		overlap = min(overlap, most.Duration)
	}
	return instant.RoundUp(overlap)
}
