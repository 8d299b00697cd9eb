// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "slices"

// history is the revisions of one owner, with what the Secret holds of them.
type history struct {
	// live are those that have their owner, newest first. Orphaned ones never verify, and count only for highest.
	live []*Revision
	// highest is the highest number that is known to be taken.
	highest int64
	// matched is the one whose hash the Secret's bytes match; nil if there is none. While the Secret is unknown it is the one that
	// the status remembers.
	matched *Revision
	// published is matched, unless it was superseded: then an older key was restored. Nil while the Secret is unknown.
	published *Revision
}

// historyOf returns the history of an owner. It is given the revisions that have their owner in any order, the highest number that
// any record shows to be taken, what the Secret holds, and the revision that the status shows as current; nil for none.
func historyOf(all []*Revision, taken int64, secret *Secret, current *Revision) history {
	h := history{live: slices.Clone(all), highest: taken}
	// The record of a revision that was in use may be gone altogether.
	if current != nil {
		h.highest = max(h.highest, current.Number)
	}
	slices.SortFunc(h.live, func(a, b *Revision) int { return int(b.Number - a.Number) })
	switch {
	case secret.State == SecretUnknown:
		h.matched = h.remembered(current)
	case secret.State == SecretOwned && secret.Hash != "":
		for _, r := range h.live {
			if r.Hash == secret.Hash {
				h.matched = r
			}
		}
	}
	if h.matched != nil && h.matched.SupersededBy == 0 && secret.State != SecretUnknown {
		h.published = h.matched
	}
	return h
}

// remembered returns the revision that the status shows as current, nil if its record is gone. While the Secret is unknown it counts as
// the matched one: so the status keeps status.current, and no loss is found.
func (h *history) remembered(current *Revision) *Revision {
	for _, r := range h.live {
		if current != nil && r.Name == current.Name {
			return r
		}
	}
	return nil
}

// numbered returns the revision with a number; nil if its record is gone.
func (h *history) numbered(number int64) *Revision {
	at := slices.IndexFunc(h.live, func(r *Revision) bool { return r.Number == number })
	if at < 0 {
		return nil
	}
	return h.live[at]
}

// others returns the revisions beside the matched one that verify, newest first.
func (h *history) others(at *horizon) []*Revision {
	var others []*Revision
	for _, r := range h.live {
		if r != h.matched && r.verifies(at) {
			others = append(others, r)
		}
	}
	return others
}

// reference returns the revision that requests and schedule are judged by; nil where there is none. Without a published revision it is
// the newest record: judging by older bytes that a user restored would count a request again that has been satisfied.
func (h *history) reference() *Revision {
	if h.published != nil || len(h.live) == 0 {
		return h.published
	}
	return h.live[0]
}

// Users of a namespace may have the right to delete records and Secrets. What the operator would conclude from a record must then
// not become more because the record is gone: newestLost and granted are the only functions that choose the record to conclude from.

// newestLost reports whether the record of the newest known revision is gone. Other records, their annotations and status.current
// show its number.
func (h *history) newestLost() bool {
	return len(h.live) == 0 || max(h.live[0].Number, h.live[0].nameNumber) < h.highest
}

// granted returns the revision that shows what the key was granted last: the newest one. If that one is gone, it is the newest that
// verifies, since verifying records follow the key; a record that was revoked or has expired may show a grant that was taken back.
// It returns nil if no record shows it, and then nothing counts as granted.
func (h *history) granted(at *horizon) *Revision {
	if !h.newestLost() {
		return h.live[0]
	}
	for _, r := range h.live {
		if r.verifies(at) {
			return r
		}
	}
	return nil
}

// supersederOf returns the revision with which the overlap of a superseded one began: the one that superseded it, whatever came later.
// Nil where the record of that revision is no longer there to count from: then the time bound that the superseded one has stands.
func (h *history) supersederOf(r *Revision) *Revision {
	if r.SupersededBy == 0 {
		return h.published
	}
	return h.numbered(r.SupersededBy)
}

// exceeds reports whether at least most revisions that are newer than this one, and older than a number, verify.
func (h *history) exceeds(most int, r *Revision, below int64, at *horizon) bool {
	newer := 0
	for _, other := range h.live {
		if other.Number > r.Number && other.Number < below && other.verifies(at) {
			newer++
		}
	}
	return newer >= most
}
