// SPDX-License-Identifier: Apache-2.0

// Package index holds what the verifier knows, in memory: keys by the hashes of their records, and chatbots by the replicas of their HMAC
// secrets. It decides which keys and which identities are accepted. It reads and writes nothing outside of memory.
package index

import (
	"fmt"
	"sync"
	"sync/atomic"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Keys holds the records of API keys by key ID. It is safe for concurrent use: readers and writers share a lock only within one
// shard, and a writer holds it for a few assignments. The zero value is empty and ready.
type Keys struct {
	shards  [256]shard
	records atomic.Int64
	// duplicates counts records that do not count, because one with their key ID was created before.
	duplicates atomic.Int64
	// changes counts changes of what the index answers with.
	changes atomic.Int64
	// limits holds all limits of Restrict, in order: a record must satisfy each. Nil for none.
	limits atomic.Pointer[[]Limits]
}

type shard struct {
	lock    sync.RWMutex
	entries table
}

func (x *Keys) shardOf(hash uint64) *shard { return &x.shards[hash&0xff] }

// find returns the entry that counts for a key ID; nil for none.
func (x *Keys) find(id keyID) *Entry {
	hash := hashOf(id)
	s := x.shardOf(hash)
	s.lock.RLock()
	defer s.lock.RUnlock()
	return s.entries.get(id, hash)
}

// Put stores a record of a generation of a watch, in place of the record with its UID. An invalid record replaces the earlier one as
// well: its key is no longer accepted. The error states why the record is invalid or not allowed, is ErrFull if there is no room for it, or
// states that it is a duplicate, which is stored and does not count.
func (x *Keys) Put(record *v1alpha1.DGbotAPIKeyRecord, watch, generation int32) error {
	e, err := newEntry(record, watch, generation)
	if err != nil {
		x.Remove(record)
		return err
	}
	hash := hashOf(e.id)
	s := x.shardOf(hash)
	s.lock.Lock()
	defer s.lock.Unlock()
	first := s.entries.get(e.id, hash)
	earlier := first.entryOf(e.uid)
	// Limits are read under the lock: Restrict stores them before it takes the lock.
	if limits := x.limits.Load(); limits != nil {
		if e, err = x.admit(*limits, e, first, earlier == nil); err != nil {
			x.removeEntry(s, earlier)
			return err
		}
	}
	if earlier == nil {
		e.use = &Use{}
	} else {
		e.use = earlier.use
	}
	e.use.SetReported(&record.Status)
	if !e.answersAs(earlier) {
		x.changes.Add(1)
	}
	x.drop(s, e.id, func(other *Entry) bool { return other.uid == e.uid })
	x.insert(s, e)
	if first = s.entries.get(e.id, hash); first != e {
		return fmt.Errorf("it has the key ID of record %s/%s, which was created before it and counts", first.Namespace(), first.RecordName())
	}
	return nil
}

// insert adds an entry to the chain of its key ID. The caller holds the lock.
func (x *Keys) insert(s *shard, e *Entry) {
	first := s.entries.get(e.id, hashOf(e.id))
	s.entries.set(chain(first, e))
	x.count(first.length(), first.length()+1)
}

// chain returns a chain with one more entry. Entries are immutable, so the entries before it are copied.
func chain(first, e *Entry) *Entry {
	if first == nil || e.before(first) {
		e.next = first
		return e
	}
	changed := *first
	changed.next = chain(first.next, e)
	return &changed
}

// length returns the length of the chain that begins here.
func (e *Entry) length() int64 {
	n := int64(0)
	for ; e != nil; e = e.next {
		n++
	}
	return n
}

// entryOf returns the entry of a record in the chain that begins here; nil if the chain does not contain the record.
func (e *Entry) entryOf(record uid) *Entry {
	for ; e != nil; e = e.next {
		if e.uid == record {
			return e
		}
	}
	return nil
}

// count notes that the number of records with one key ID changed. All but the first are duplicates.
func (x *Keys) count(before, after int64) {
	x.records.Add(after - before)
	x.duplicates.Add(max(after-1, 0) - max(before-1, 0))
}

// Remove removes a record.
func (x *Keys) Remove(record *v1alpha1.DGbotAPIKeyRecord) {
	var id keyID
	if copy(id[:], record.Spec.KeyID) != keyIDLength {
		return
	}
	removed := parseUID(record.UID)
	s := x.shardOf(hashOf(id))
	s.lock.Lock()
	defer s.lock.Unlock()
	x.removeEntry(s, s.entries.get(id, hashOf(id)).entryOf(removed))
}

// removeEntry removes an entry; nil for none. The caller holds the lock.
func (x *Keys) removeEntry(s *shard, removed *Entry) {
	if removed == nil {
		return
	}
	x.drop(s, removed.id, func(e *Entry) bool { return e.uid == removed.uid })
	x.changes.Add(1)
}

// drop removes the entries of a key ID that match. The caller holds the lock.
func (x *Keys) drop(s *shard, id keyID, matches func(*Entry) bool) {
	first := s.entries.get(id, hashOf(id))
	kept := keep(first, matches)
	switch kept {
	case first:
		return
	case nil:
		s.entries.remove(id)
	default:
		s.entries.set(kept)
	}
	x.count(first.length(), kept.length())
}

// keep returns a chain without the entries that match.
func keep(first *Entry, matches func(*Entry) bool) *Entry {
	if first == nil {
		return nil
	}
	rest := keep(first.next, matches)
	if matches(first) {
		return rest
	}
	if rest == first.next {
		return first
	}
	changed := *first
	changed.next = rest
	return &changed
}

// Sweep removes the records of a watch that a generation does not contain: they were deleted while no watch was open.
func (x *Keys) Sweep(watch, generation int32) {
	old := func(e *Entry) bool { return e.generation != generation && e.traits.Value().watch == watch }
	for i := range x.shards {
		s := &x.shards[i]
		var ids []keyID
		s.lock.RLock()
		for first := range s.entries.all {
			for e := first; e != nil; e = e.next {
				if old(e) {
					ids = append(ids, e.id)
					break
				}
			}
		}
		s.lock.RUnlock()
		for _, id := range ids {
			s.lock.Lock()
			x.drop(s, id, old)
			s.lock.Unlock()
			x.changes.Add(1)
		}
	}
}

// All yields the entry that counts for each key ID. A shard cannot be written while its entries are yielded.
func (x *Keys) All(yield func(*Entry) bool) {
	for i := range x.shards {
		if !x.shards[i].all(yield) {
			return
		}
	}
}

func (s *shard) all(yield func(*Entry) bool) (more bool) {
	s.lock.RLock()
	defer s.lock.RUnlock()
	for e := range s.entries.all {
		if !yield(e) {
			return false
		}
	}
	return true
}

// Records returns the number of records.
func (x *Keys) Records() int64 { return x.records.Load() }

// Duplicates returns the number of records that do not count, because one with their key ID was created before.
func (x *Keys) Duplicates() int64 { return x.duplicates.Load() }

// Changes returns how many times the index changed what it answers with. A reported use is no such change. The count is at least one higher
// after Put, Remove, Sweep or Restrict made a change.
func (x *Keys) Changes() int64 { return x.changes.Load() }
