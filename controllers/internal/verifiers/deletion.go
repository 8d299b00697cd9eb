// SPDX-License-Identifier: Apache-2.0

package verifiers

// ObserveDeletion notes that a Lease was deleted, after all its renewals were observed. Unless the process had stopped, another client has deleted it,
// and the process counts as silent until it is gone. See forgetDeleted and forget.
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
	}
	if r.setDeleted(v, true); r.deletedSize > maxDeletedSize {
		r.forget(v)
	}
	r.changes++
}

// noteMissing notes the verifiers that count as gone by their silence, and whose Lease a live list lacks although no event has told of its deletion:
// the watch has stopped, so renewals may have been missed as well. The mutex must be held.
func (r *Registry) noteMissing(isListed map[string]bool) {
	for _, v := range r.known {
		if !isListed[v.name] && !v.isDeleted && r.isSuspect(v) {
			r.noteEnd(v, true)
		}
	}
}
