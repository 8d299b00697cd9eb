// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"time"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

// dated converts a time by Silence to one by Clock. The registry keeps times by Silence, because Clock may be corrected later: a time by Clock would
// then date a proof too early or too late.
func (r *Registry) dated(moment time.Time) time.Time {
	age := r.Silence.Since(moment) // first: if the process is paused before Clock is read, the result is only later
	return r.Clock.Now().Add(-age)
}

// completeFrom returns the time from which on the view has every verifier that may answer: absenceSpan after the start, and after all evicted
// verifiers deny every request. It leaves out evicted verifiers that serve when stale: see evicted.serves.
func (r *Registry) completeFrom() time.Time {
	from := r.evicted.denyFrom
	if known := r.started.Add(absenceSpan); !r.started.IsZero() && known.After(from) {
		from = known
	}
	if from.IsZero() {
		return time.Time{}
	}
	return r.dated(from)
}

// stateOf returns the state of a verifier. One that is Gone by its silence alone is not Gone for proofs before a live list has shown no renewal.
func (r *Registry) stateOf(v *verifier) registration.State {
	state := v.State(r.Silence.Since(v.renewedAt))
	switch {
	case v.presence == propagation.Stopped:
		return registration.Stopped
	case v.presence == propagation.Gone:
		return registration.Gone
	case v.isDeleted && state == registration.Current:
		return registration.Silent
	}
	return state
}

// isSuspect reports whether a verifier is gone by its silence, and no live list has shown so yet.
func (r *Registry) isSuspect(v *verifier) bool {
	return v.presence == propagation.Present && r.stateOf(v) == registration.Gone
}
