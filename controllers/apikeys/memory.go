// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/continuity"
)

// memory holds what a running manager remembers between passes. The zero value is ready to use, and safe for concurrent use. Losing it costs
// requests, nothing else.
type memory struct {
	mutex sync.Mutex
	keys  map[types.NamespacedName]*keyMemory
	// foreign are the last looks at Secrets that belong to none of the keys that name them, by the Secret.
	foreign map[types.NamespacedName]foreignSecret
}

// keyMemory holds what is remembered of one key.
type keyMemory struct {
	// secret is the last look at its Secret, so that the bytes are read only when they have changed, or are due; nil for none.
	secret *look
	// reported is its status as it was last written.
	reported written
	// doubts are publications whose outcome is not known.
	doubts []doubt
	// recorded is the uid of the key for which this manager created a record, or tried to; empty for none.
	recorded types.UID
	// withdrawn is when the API server had answered the last write that withdrew a revision; zero for none.
	withdrawn time.Time
	// postponed is the cut-off of a revocation whose report was left to a later pass; nil for none.
	postponed *metav1.Time
}

// The attempts that are counted for a key.
const (
	repairing   = "repair of the Secret"
	creating    = "creation of a record"
	reporting   = "status"
	carryingOut = "steps of a plan"
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

// written is a write of our own.
type written struct {
	resourceVersion string
	at              time.Time
}

// of returns what is remembered of a key. The mutex must be held.
func (m *memory) of(key types.NamespacedName) *keyMemory {
	if m.keys == nil {
		m.keys = map[types.NamespacedName]*keyMemory{}
	}
	if m.keys[key] == nil {
		m.keys[key] = &keyMemory{}
	}
	return m.keys[key]
}

func (m *memory) rememberSecret(key *v1alpha1.DGbotAPIKey, facts *secretFacts, now time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of(client.ObjectKeyFromObject(key)).secret = &look{key: key.UID, facts: facts, at: now}
}

// forgetSecret forgets the last look at a key's Secret.
func (m *memory) forgetSecret(key types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of(key).secret = nil
}

// lastLook returns the last look at a key's Secret; nil for none.
func (m *memory) lastLook(key types.NamespacedName) *look {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.of(key).secret
}

func (m *memory) rememberReport(key types.NamespacedName, report written) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of(key).reported = report
}

func (m *memory) rememberWithdrawal(key types.NamespacedName, at time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of(key).withdrawn = at
}

// lastWithdrawal returns when a revision of the key was last withdrawn, and when its status was last written; zero for never.
func (m *memory) lastWithdrawal(key types.NamespacedName) (withdrawn, reported time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.of(key).withdrawn, m.of(key).reported.at
}

// rememberRecord notes that a key has a record, or may have one.
func (m *memory) rememberRecord(key *v1alpha1.DGbotAPIKey) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of(client.ObjectKeyFromObject(key)).recorded = key.UID
}

// hasRecord reports whether rememberRecord was called for the key, and not for an earlier one of its name.
func (m *memory) hasRecord(key *v1alpha1.DGbotAPIKey) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.of(client.ObjectKeyFromObject(key)).recorded == key.UID
}

// olderThanReport reports whether a key was read before this manager last wrote its status, and how long ago that was: the cache has yet
// to catch up, and what it shows as missing has been written and reported. If that takes long, the API server may have been restored
// from a backup.
func (m *memory) olderThanReport(key *v1alpha1.DGbotAPIKey, now time.Time) (older bool, since time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	report := m.of(client.ObjectKeyFromObject(key)).reported
	return continuity.Older(key.ResourceVersion, report.resourceVersion), now.Sub(report.at)
}

func (m *memory) rememberDoubt(key types.NamespacedName, d doubt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.of(key).doubts = append(m.of(key).doubts, d)
}

// takeDoubts returns the doubts of a key that are older than a time, and forgets them.
func (m *memory) takeDoubts(key types.NamespacedName, before time.Time) (old []doubt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var young []doubt
	for _, d := range m.of(key).doubts {
		if d.at.Before(before) {
			old = append(old, d)
		} else {
			young = append(young, d)
		}
	}
	m.of(key).doubts = young
	return old
}

// mayPostpone reports whether the report of a revocation up to a time may wait for a later pass: once for each time.
func (m *memory) mayPostpone(key *v1alpha1.DGbotAPIKey, cutOff *metav1.Time) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	known := m.of(client.ObjectKeyFromObject(key))
	if cutOff.Equal(known.postponed) {
		return false
	}
	known.postponed = cutOff
	return true
}

// hasDoubts reports whether a publication for the key may have happened.
func (m *memory) hasDoubts(key *v1alpha1.DGbotAPIKey) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.of(client.ObjectKeyFromObject(key)).doubts) > 0
}

func (m *memory) forget(key types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.keys, key)
}
