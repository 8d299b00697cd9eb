// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	coordinationv1 "k8s.io/api/coordination/v1"

	"dgbot.io/key-operator/internal/lifecycle/propagation"
)

// ObserveDeletion notes that a Lease was deleted, after all its renewals were observed. Unless the process had stopped, another client has deleted it,
// and the process counts as silent until it is gone. See removeDeleted and evict.
func (r *Registry) ObserveDeletion(name string) { r.observeEnd(name, false) }

// observeLoss notes that a Lease does not exist any more, after the watch was interrupted: it may have been renewed since it was last observed.
func (r *Registry) observeLoss(name string) { r.observeEnd(name, true) }

func (r *Registry) observeEnd(name string, mayHaveRenewed bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if v := r.known[name]; v != nil {
		r.noteEnd(v, mayHaveRenewed)
		r.confirmAll()
	}
}

// noteEnd notes that the Lease of a verifier does not exist any more. If it may have been renewed since it was last observed, its silence counts
// from now. The mutex must be held.
func (r *Registry) noteEnd(v *verifier, mayHaveRenewed bool) {
	if mayHaveRenewed && !v.isDeleted {
		v.renewedAt = r.Silence.Now()
		if v.presence == propagation.Gone {
			v.presence = propagation.Present // it may have registered that it answers again
		}
	}
	if r.setDeleted(v, true); r.deletedSize > maxDeletedSize {
		r.evict(v)
	}
	r.changes++
}

// noteList notes all Leases of verifiers. If one is missing whose verifier counts as gone, and no event has told of its deletion, the watch was
// interrupted, so that renewals may have been missed as well. The mutex must be held.
func (r *Registry) noteList(leases []coordinationv1.Lease) {
	isListed := map[string]bool{}
	for i := range leases {
		isListed[leases[i].Name] = true
		r.observe(&leases[i])
	}
	for _, v := range r.known {
		if !isListed[v.name] && !v.isDeleted && (v.presence == propagation.Gone || r.isSuspect(v)) {
			r.noteEnd(v, true)
		}
	}
}
