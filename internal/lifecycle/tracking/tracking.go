// SPDX-License-Identifier: Apache-2.0

// Package tracking judges what verifiers report about uses: since when, and how surely.
package tracking

import (
	"time"

	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// MaxTrackingGap is how long an environment may be without a report of a verifier before uses in it may have been missed.
const MaxTrackingGap = 10 * time.Minute

// UsageLeaseRetention is how long the operator keeps a Lease that no verifier renews. Nothing is lost with the Lease then: after
// MaxTrackingGap the next renewal begins the tracking anew anyway, and uses are in the status of records.
const UsageLeaseRetention = time.Hour

// Tracking describes since when verifiers report uses in an environment: a use since Since would have been reported. Verifiers
// publish it in a Lease.
type Tracking struct {
	Since time.Time
	// Renewed is when a verifier last renewed the Lease.
	Renewed time.Time
	// Lag is how far behind Renewed the reports of the others may be.
	Lag time.Duration
}

// At reports whether uses are tracked at a time. A Lease that is dated ahead proves nothing: the clock behind it is wrong.
func (t *Tracking) At(now time.Time) bool {
	return t.ActiveAt(&instant.Horizon{Now: now})
}

// IsProven reports whether verifiers would have reported a use up to a time by now. A Lease proves something about the time up to one
// duration before its renewal, because the other verifiers may be that far behind.
func (t *Tracking) IsProven(at time.Time, h *instant.Horizon) bool {
	by := at.Add(t.Lag)
	switch {
	case !h.Reached(by):
		return false
	case !by.After(t.Renewed):
		return true
	}
	// The Lease has yet to be renewed, and no watch reports that.
	h.WakeBy(h.Now.Add(max(t.Lag, time.Second)))
	return false
}

// ActiveAt reports whether uses are tracked at the time of a plan, and has the owner planned again when that changes.
func (t *Tracking) ActiveAt(h *instant.Horizon) bool {
	return t != nil && h.Reached(t.begins()) && !h.Reached(t.Renewed.Add(MaxTrackingGap))
}

// begins is when the tracking is no longer dated ahead.
func (t *Tracking) begins() time.Time {
	if t.Since.After(t.Renewed) {
		return t.Since.Add(-maxUseAhead)
	}
	return t.Renewed.Add(-maxUseAhead)
}
