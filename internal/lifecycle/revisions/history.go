// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"slices"

	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// History is the revisions of one owner, with what the Secret holds of them.
type History struct {
	// Owned are those that have their owner, newest first. Orphaned ones never verify, and count only for Highest.
	Owned []*Revision
	// Highest is the highest number that is known to be taken.
	Highest int64
	// Matched is the one whose hash the Secret's bytes match; nil if there is none. While the Secret is unknown it is the one that
	// the status remembers.
	Matched *Revision
	// Published is matched, unless it was superseded: then an older key was restored. Nil while the Secret is unknown.
	Published *Revision
}

// HistoryOf returns the history of an owner. It is given the revisions that have their owner in any order, the highest number that
// any record shows to be taken, what the Secret holds, and the revision that the status shows as current; nil for none.
func HistoryOf(all []*Revision, taken int64, secret *Secret, current *Revision) History {
	h := History{Owned: slices.Clone(all), Highest: taken}
	// The record of a revision that was in use may be gone altogether.
	if current != nil {
		h.Highest = max(h.Highest, current.Number)
	}
	slices.SortFunc(h.Owned, func(a, b *Revision) int { return int(b.Number - a.Number) })
	switch {
	case secret.State == SecretUnknown:
		h.Matched = h.remembered(current)
	case secret.State == SecretOwned && secret.Hash != "":
		for _, r := range h.Owned {
			if r.Hash == secret.Hash {
				h.Matched = r
			}
		}
	}
	if h.Matched != nil && h.Matched.SupersededBy == 0 && secret.State != SecretUnknown {
		h.Published = h.Matched
	}
	return h
}

// remembered returns the revision that the status shows as current, nil if its record is gone. While the Secret is unknown it counts as
// the matched one: so the status keeps status.current, and no loss is found.
func (h *History) remembered(current *Revision) *Revision {
	for _, r := range h.Owned {
		if current != nil && r.Name == current.Name {
			return r
		}
	}
	return nil
}

// numbered returns the revision with a number; nil if its record is gone.
func (h *History) numbered(number int64) *Revision {
	at := slices.IndexFunc(h.Owned, func(r *Revision) bool { return r.Number == number })
	if at < 0 {
		return nil
	}
	return h.Owned[at]
}

// Others returns the revisions beside the matched one that verify, newest first.
func (h *History) Others(at *instant.Horizon) []*Revision {
	var others []*Revision
	for _, r := range h.Owned {
		if r != h.Matched && r.Verifies(at) {
			others = append(others, r)
		}
	}
	return others
}

// Reference returns the revision that requests and schedule are judged by; nil where there is none. Without a published revision it is
// the newest record: judging by older bytes that a user restored would count a request again that has been satisfied.
func (h *History) Reference() *Revision {
	if h.Published != nil || len(h.Owned) == 0 {
		return h.Published
	}
	return h.Owned[0]
}

// Users of a namespace may have the right to delete records and Secrets. What the operator would conclude from a record must then
// not become more because the record is gone: NewestLost and Granted are the only functions that choose the record to conclude from.

// NewestLost reports whether the record of the newest known revision is gone. Other records, their annotations and status.current
// show its number.
func (h *History) NewestLost() bool {
	return len(h.Owned) == 0 || max(h.Owned[0].Number, h.Owned[0].NameNumber) < h.Highest
}

// Granted returns the revision that shows what the key was granted last: the newest one. If that one is gone, it is the newest that
// verifies, since verifying records follow the key; a record that was revoked or has expired may show a grant that was taken back.
// It returns nil if no record shows it, and then nothing counts as granted.
func (h *History) Granted(at *instant.Horizon) *Revision {
	if !h.NewestLost() {
		return h.Owned[0]
	}
	for _, r := range h.Owned {
		if r.Verifies(at) {
			return r
		}
	}
	return nil
}

// SupersederOf returns the revision with which the overlap of a superseded one began: the one that superseded it, whatever came later.
// Nil where the record of that revision is no longer there to count from: then the time bound that the superseded one has stands.
func (h *History) SupersederOf(r *Revision) *Revision {
	if r.SupersededBy == 0 {
		return h.Published
	}
	return h.numbered(r.SupersededBy)
}

// Exceeds reports whether at least most revisions that are newer than this one, and older than a number, verify.
func (h *History) Exceeds(most int, r *Revision, below int64, at *instant.Horizon) bool {
	newer := 0
	for _, other := range h.Owned {
		if other.Number > r.Number && other.Number < below && other.Verifies(at) {
			newer++
		}
	}
	return newer >= most
}
