// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"time"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
)

// A verifier whose Lease another client deleted may still answer, so it is remembered: with --on-stale=serve for as long as this process runs.
// Memory must not grow with the number of Leases that a client creates and deletes. Beyond maxDeletedSize such a verifier is evicted, and it
// can then no longer keep a withdrawal from being confirmed. So this instance confirms nothing before all that it has evicted deny every
// request, and nothing at all if one of them answers however old its records are.

const (
	// maxDeletedSize bounds the memory in bytes, as size estimates it, of the verifiers whose Lease was deleted. About a thousand that have reported
	// often, or seven times as many that have reported once.
	maxDeletedSize = 8 << 20
	// verifierSize and reportSize are the memory in bytes of a verifier and of a report without its texts, and versionSize that of an entry of
	// a map.
	verifierSize = 512
	reportSize   = 512
	versionSize  = 64
)

// evicted describes the verifiers that this instance has evicted although they may answer.
type evicted struct {
	// denyFrom is when all of them that deny when stale do so, by Registry.Silence; zero for none.
	denyFrom time.Time
	// serves is set if one of them answers however old its records are.
	serves bool
}

// size estimates the memory that a verifier takes, in bytes.
func (v *verifier) size() int {
	size := verifierSize + len(v.name)
	for i := range v.reports {
		size += reportSize
		for watch, version := range v.reports[i].observed {
			size += versionSize + len(watch.Namespace) + len(watch.Environment) + len(version)
		}
	}
	return size
}

// setDeleted notes whether the Lease of a verifier was deleted, and counts the memory of those. The mutex must be held.
func (r *Registry) setDeleted(v *verifier, isDeleted bool) {
	r.deletedSize -= v.deletedSize
	v.deletedSize = 0
	if v.isDeleted = isDeleted; isDeleted {
		v.deletedSize = v.size()
		r.deletedSize += v.deletedSize
	}
}

// remove removes a verifier that is of no importance to any withdrawal, or that evict has noted. The mutex must be held.
func (r *Registry) remove(v *verifier) {
	r.setDeleted(v, false)
	delete(r.known, v.name)
}

// evict removes a verifier whose Lease was deleted just now, and notes until when it may answer. The mutex must be held.
func (r *Registry) evict(v *verifier) {
	denyFrom := r.Silence.Now()
	if v.presence == propagation.Present {
		longest, ends := v.LongestSilence()
		r.evicted.serves = r.evicted.serves || !ends
		denyFrom = denyFrom.Add(longest)
	}
	if denyFrom.After(r.evicted.denyFrom) {
		r.evicted.denyFrom = denyFrom
	}
	r.remove(v)
}
