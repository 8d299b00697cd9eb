// SPDX-License-Identifier: Apache-2.0

package index

import "hash/maphash"

// table is a hash table of entries by key ID, with open addressing. Go's map would hold the IDs once more, which takes three
// times the memory. The zero table is empty and ready.
type table struct {
	// slots are a power of two, at most four fifths of them taken; tags are a byte of each entry's hash, 0 for none, so that
	// another entry is mostly passed by without looking at it.
	slots []*Entry
	tags  []uint8
	taken int
}

const leastSlots = 8

// seed: whoever could choose key IDs must not be able to make them meet in one slot.
var seed = maphash.MakeSeed()

func hashOf(id keyID) uint64 { return maphash.Bytes(seed, id[:]) }

// tagOf is never 0. It is taken from bits that choose neither the shard nor, in a table of less than 2^40 slots, the slot.
func tagOf(hash uint64) uint8 { return uint8(hash>>56) | 1 }

// home is the slot that an entry is in where no other took it first.
func (t *table) home(hash uint64) int { return int(hash>>8) & (len(t.slots) - 1) }

// find returns the slot of a key ID, and whether it is there; where not, it is the one to put it into.
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

// set puts an entry in the place of the one with its key ID.
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

// remove forgets a key ID. Those that had to go past its slot move up, so that none is left behind a gap.
func (t *table) remove(id keyID) {
	gap, found := t.find(id, hashOf(id))
	if !found {
		return
	}
	t.taken--
	last := len(t.slots) - 1
	for slot := (gap + 1) & last; t.tags[slot] != 0; slot = (slot + 1) & last {
		// How far it is from its home, and how far the gap is.
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

// all goes through the entries. The table must not change meanwhile.
func (t *table) all(yield func(*Entry) bool) {
	for _, e := range t.slots {
		if e != nil && !yield(e) {
			return
		}
	}
}
