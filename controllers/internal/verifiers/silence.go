// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"time"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/registration"
)

// dated returns a time by Silence as one by Clock. Times are kept by Silence: Clock may find out later that it was wrong, and a withdrawal would be
// confirmed at a time before verifiers rejected the key.
func (r *Registry) dated(moment time.Time) time.Time {
	return r.Clock.Now().Add(-r.Silence.Since(moment))
}

// completeFrom returns from when on no verifier is missing because its Lease was lost before this instance started, or because it was
// forgotten. It leaves out those that are missing for ever: see forgotten.serves.
func (r *Registry) completeFrom() time.Time {
	from := r.forgotten.denyFrom
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
