// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/continuity"
)

// memory is what a running operator keeps between passes, by key. Losing it costs requests, and where a policy alters records
// one attempt that comes too early; nothing else.
type memory struct {
	mutex sync.Mutex
	// secrets are the last looks at Secrets, so that their bytes are read only when they have changed, or are due.
	secrets map[types.NamespacedName]look
	// foreign are the last looks at Secrets that belong to none of the keys that name them, by the Secret.
	foreign map[types.NamespacedName]foreignSecret
	// reported are the keys' statuses as they were last written.
	reported map[types.NamespacedName]written
	// undone are the writes that somebody was found to undo in the same write, or to be first with.
	undone map[undoing]undone
	// doubts are publications whose outcome is not known.
	doubts map[types.NamespacedName][]doubt
	// yields are how often this operator has stepped back for a record that another one may be publishing.
	yields map[types.NamespacedName]yield
	// gone are owners that no longer exist, see secretOwner.mayLive.
	gone map[goneOwner]bool
}

// undoing is a write of a key that comes to nothing.
type undoing struct {
	key   types.NamespacedName
	write string
}

// undone is when a write last came to nothing, and how often in a row that has been.
type undone struct {
	at    time.Time
	times int
}

// within says whether that is less than a time ago.
func (u undone) within(span time.Duration, now time.Time) bool {
	return u.times > 0 && now.Sub(u.at) < span && !now.Before(u.at)
}

const (
	repairing = "repair of the Secret"
	creating  = "creation of a record"
	reporting = "status"
	planned   = "steps of a plan"
	// amending is followed by the record's name.
	amending = "change of record "
)

// doubt is a publication that may have happened.
type doubt struct {
	// hash is that of the record.
	hash string
	// secretVersion is the resourceVersion of the Secret that was to be replaced; empty where it was to be created.
	secretVersion string
	at            time.Time
}

type yield struct {
	record types.UID
	times  int
}

// written is a write of our own.
type written struct {
	resourceVersion string
	at              time.Time
}

func (m *memory) rememberSecret(key *v1alpha1.DGbotAPIKey, facts *secretFacts, now time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.secrets == nil {
		m.secrets = map[types.NamespacedName]look{}
	}
	m.secrets[client.ObjectKeyFromObject(key)] = look{key: key.UID, facts: facts, at: now}
}

// forgetSecret forgets the last look at a key's Secret.
func (m *memory) forgetSecret(key types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.secrets, key)
}

func (m *memory) lastLook(key types.NamespacedName) (look, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	last, ok := m.secrets[key]
	return last, ok
}

func (m *memory) rememberReport(key types.NamespacedName, report written) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.reported == nil {
		m.reported = map[types.NamespacedName]written{}
	}
	m.reported[key] = report
}

// olderThanReport says whether a key was read before this operator last wrote its status, and how long ago that was: the
// cache has yet to catch up, and what it shows as missing has been written and told. Where that takes long, it may be the
// API server that went back, to a backup.
func (m *memory) olderThanReport(key *v1alpha1.DGbotAPIKey, now time.Time) (older bool, since time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	report := m.reported[client.ObjectKeyFromObject(key)]
	return continuity.Older(key.ResourceVersion, report.resourceVersion), now.Sub(report.at)
}

// rememberUndone notes that a write came to nothing, and returns how often that is in a row.
func (m *memory) rememberUndone(what undoing, at time.Time) (times int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.undone == nil {
		m.undone = map[undoing]undone{}
	}
	times = m.undone[what].times + 1
	m.undone[what] = undone{at, times}
	return times
}

// lastUndone says when a write was last undone, and how often in a row; zero for never.
func (m *memory) lastUndone(what undoing) undone {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.undone[what]
}

// leftAlone notes that a write was done, and found as it was written.
func (m *memory) leftAlone(what undoing) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.undone, what)
}

func (m *memory) rememberDoubt(key types.NamespacedName, d doubt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.doubts == nil {
		m.doubts = map[types.NamespacedName][]doubt{}
	}
	m.doubts[key] = append(m.doubts[key], d)
}

// takeDoubts returns the doubts of a key that are older than a time, and forgets them.
func (m *memory) takeDoubts(key types.NamespacedName, before time.Time) (old []doubt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var young []doubt
	for _, d := range m.doubts[key] {
		if d.at.Before(before) {
			old = append(old, d)
		} else {
			young = append(young, d)
		}
	}
	if len(young) == 0 {
		delete(m.doubts, key)
	} else {
		m.doubts[key] = young
	}
	return old
}

// yieldTo says whether to step back for a record once more, and counts it.
func (m *memory) yieldTo(key types.NamespacedName, record types.UID) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.yields == nil {
		m.yields = map[types.NamespacedName]yield{}
	}
	last := m.yields[key]
	if last.record != record {
		last = yield{record: record}
	}
	last.times++
	m.yields[key] = last
	return last.times <= maxYields
}

func (m *memory) forget(key types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.secrets, key)
	delete(m.reported, key)
	delete(m.doubts, key)
	for what := range m.undone {
		if what.key == key {
			delete(m.undone, what)
		}
	}
	delete(m.yields, key)
}
