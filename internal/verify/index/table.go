// SPDX-License-Identifier: Apache-2.0

package index

import "hash/maphash"

// table is a hash table of entries by key ID, with open addressing. A Go map would hold a second copy of each ID, which takes
// three times the memory. The zero table is empty and ready.
type table struct {
	// The number of slots is a power of two, and at most four fifths of them are taken. A tag is one byte of the entry's hash, 0
	// for an empty slot. Most other entries are skipped by their tag.
	slots []*Entry
	tags  []uint8
	taken int
}

const leastSlots = 8

// seed is random, so that a client that can choose key IDs cannot make them share a slot.
var seed = maphash.MakeSeed()

func hashOf(id keyID) uint64 { return maphash.Bytes(seed, id[:]) }

// tagOf returns the tag of a hash, which is never 0. Its bits choose neither the shard nor, in a table of less than 2^40 slots, the slot.
func tagOf(hash uint64) uint8 { return uint8(hash>>56) | 1 }

// home returns the slot of an entry if no other entry took that slot before.
func (t *table) home(hash uint64) int { return int(hash>>8) & (len(t.slots) - 1) }

// find returns the slot of a key ID and reports whether the table contains the ID. If not, the slot is free for it.
func (t *table) find(id keyID, hash uint64) (slot int, found bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	for slot = t.home(hash); t.tags[slot] != 0; slot = (slot + 1) & (len(t.slots) - 1) {
		if t.tags[slot] == tagOf(hash) && t.slots[slot].id == id {
			return slot, true
		}
	}
	return slot, false
}

// get returns the entry of a key ID; nil for none.
func (t *table) get(id keyID, hash uint64) *Entry {
	if slot, found := t.find(id, hash); found {
		return t.slots[slot]
	}
	return nil
}

// set stores an entry, in place of the one with its key ID.
func (t *table) set(e *Entry) {
	hash := hashOf(e.id)
	slot, found := t.find(e.id, hash)
	if !found {
		if (t.taken+1)*5 > len(t.slots)*4 {
			t.resize(max(leastSlots, len(t.slots)*2))
			slot, _ = t.find(e.id, hash)
		}
		t.taken++
	}
	t.slots[slot], t.tags[slot] = e, tagOf(hash)
}

// remove removes a key ID. Entries that skipped its slot move up, so that no gap separates an entry from its home.
func (t *table) remove(id keyID) {
	gap, found := t.find(id, hashOf(id))
	if !found {
		return
	}
	t.taken--
	last := len(t.slots) - 1
	for slot := (gap + 1) & last; t.tags[slot] != 0; slot = (slot + 1) & last {
		// An entry moves if its distance from home is at least its distance from the gap.
		if home := t.home(hashOf(t.slots[slot].id)); (slot-home)&last >= (slot-gap)&last {
			t.slots[gap], t.tags[gap] = t.slots[slot], t.tags[slot]
			gap = slot
		}
	}
	t.slots[gap], t.tags[gap] = nil, 0
	if len(t.slots) > leastSlots && t.taken*5 < len(t.slots) {
		t.resize(len(t.slots) / 2)
	}
}

func (t *table) resize(slots int) {
	larger := table{slots: make([]*Entry, slots), tags: make([]uint8, slots), taken: t.taken}
	for e := range t.all {
		hash := hashOf(e.id)
		slot, _ := larger.find(e.id, hash)
		larger.slots[slot], larger.tags[slot] = e, tagOf(hash)
	}
	*t = larger
}

// all yields the entries. The table must not change meanwhile.
func (t *table) all(yield func(*Entry) bool) {
	for _, e := range t.slots {
		if e != nil && !yield(e) {
			return
		}
	}
}
