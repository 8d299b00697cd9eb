// SPDX-License-Identifier: Apache-2.0

package propagation

import (
	"slices"
	"time"

	"dgbot.io/key-operator/internal/registration"
)

// View is what an instance of the operator knows of the registered verifiers that may accept the records of one key.
type View struct {
	// Unreadable is set while the Leases cannot be read: there may be more verifiers.
	Unreadable bool
	// CompleteFrom is from when on this instance knows every verifier that may answer: those whose Lease was lost have registered anew, or deny every
	// request. Zero for always.
	CompleteFrom time.Time
	// Incomplete is set if a verifier may answer for ever that this instance does not know any more.
	Incomplete bool
	Verifiers  []Verifier
}

// Presence tells if a registered verifier can still answer.
type Presence int

const (
	// Present: it renews its registration, or has not been silent for long enough to be Gone.
	Present Presence = iota
	// Stopped: the process has given its last answer.
	Stopped
	// Gone: it denies when its records are stale, and was silent for longer than they may be.
	Gone
)

// Verifier is one registered verifier.
type Verifier struct {
	// Name of its Lease.
	Name string
	// Reports are what it stated lately, oldest first. The last one holds now.
	Reports []Report
	// Presence, and since when this instance knows it.
	Presence     Presence
	PresenceFrom time.Time
	// Serves is set if it answers however old its records are.
	Serves bool
	// IsSilent is set if it has missed renewals. BoundAt is then when it counts as gone; zero if it never does.
	IsSilent bool
	BoundAt  time.Time
}

// Report is what a verifier stated in one renewal.
type Report struct {
	// Version up to which it had applied the records of the key's namespace and environment; empty for none.
	Version string
	// Renewed is the time of the renewal by the verifier's clock.
	Renewed time.Time
	// SeenAt is when this instance learned of it.
	SeenAt time.Time
}

// rejectsSince returns since when this instance knows that the verifier cannot accept what was withdrawn; false if it may accept it.
func (v *Verifier) rejectsSince(w *Awaited) (time.Time, bool) {
	at := slices.IndexFunc(v.Reports, func(r Report) bool {
		return registration.Reaches(r.Version, w.Version) && !r.Renewed.Before(w.End)
	})
	switch {
	case at >= 0:
		return v.Reports[at].SeenAt, true
	case v.Presence != Present:
		return v.PresenceFrom, true
	}
	return time.Time{}, false
}
