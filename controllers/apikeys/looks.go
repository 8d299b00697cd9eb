// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// With --secret-access=get-only no watch says that a Secret has changed: the manager may read Secrets by name and may not
// list them. Each key's Secret is looked at live at the instants of a schedule, and what was seen is remembered between.
//
//	what is remembered                     what a pass does
//	nothing (start, new key)               looks
//	a look, and an instant has come since  looks
//	a look at a foreign Secret             looks if it is a minute old: the Secret may be gone
//	any other look                         reads nothing; and then
//	  the plan has steps                   observes live and plans again, as in any mode
//	  the status would change              the same: time, a record or another instance changed something, and Ready must
//	                                       not follow from an old look
//	  nothing is to be written             is done
//
// So a remembered look can only find that nothing is to be done. What it may miss until the next instant is what happened
// to the Secret alone. What another operator does to the Secret comes with writes of records and status, which are
// watched: its new record changes status.previous, the end it gives to the earlier one makes the remembered bytes those
// of a superseded revision, and where it crashes between the two, the unpublished record is due to be ended after half a
// minute. Each of these ends in a live look.
//
// What the operator itself writes counts as a look, so that its own events cause no reads.

// unownedLook is how long a look at a Secret that is not the key's is good for: lifecycle looks again each minute.
const unownedLook = time.Minute

// look is what was found under a Secret's name.
type look struct {
	// key is the uid of the key it was made for: facts depend on where that key has its text.
	key types.UID
	// facts are nil where there was no Secret.
	facts *secretFacts
	at    time.Time
}

// current reports whether a look still counts.
func (l *look) current(key *v1alpha1.DGbotAPIKey, now time.Time, interval time.Duration) bool {
	// A look from the future was made before the clock was set back: its age is unknown.
	if l.key != key.UID || now.Before(l.at) || !now.Before(nextLook(key.UID, l.at, interval)) {
		return false
	}
	if l.facts == nil {
		return true
	}
	state, _ := l.facts.ownership(key)
	return state == revisions.SecretOwned || now.Before(l.at.Add(unownedLook))
}

// nextLook returns the first instant after a look at which the Secret is looked at again, at most the interval later. The
// instants are the interval apart and shifted by a hash of the uid: the looks of many keys are spread evenly, from the
// first interval after a start on.
func nextLook(uid types.UID, at time.Time, interval time.Duration) time.Time {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(uid))
	shift := int64(hash.Sum64() % uint64(interval)) //nolint:gosec // Less than the interval, which is positive.
	past := (at.UnixNano() - shift) % int64(interval)
	if past < 0 {
		past += int64(interval)
	}
	return at.Add(interval - time.Duration(past))
}

// watchesSecrets reports whether changes of Secrets are events.
func (r *Reconciler) watchesSecrets() bool { return r.SecretCheckInterval == 0 }

// wake returns when the key is to be looked at again: when lifecycle wants to plan, or when its Secret is due for a look;
// zero for never. The Secret of a key that is being deleted is garbage collection's.
func (r *Reconciler) wake(seen *observed, planned time.Time) time.Time {
	if r.watchesSecrets() || !seen.Key.DeletionTimestamp.IsZero() {
		return planned
	}
	last := r.memory.lastLook(client.ObjectKeyFromObject(seen.Key))
	if last == nil {
		return planned
	}
	next, now := nextLook(seen.Key.UID, last.at, r.SecretCheckInterval), r.Clock.Now()
	if shared := r.memory.lastForeign(secretNameOf(seen.Key), now); shared != nil && !next.After(now) {
		// A look for another key took the place of the one that is due. Until that look is too old, each pass would read nothing.
		next = shared.at.Add(foreignSecretAge)
	}
	if planned.IsZero() || next.Before(planned) {
		return next
	}
	return planned
}

// Any number of keys can name one Secret, and at most one of them owns it. The others wait for the Secret to be deleted. They do not read it
// while the cache shows it, and share one read of it otherwise.

// foreignSecretAge is for how long keys share one read of a Secret that is none of theirs.
const foreignSecretAge = 5 * time.Second

// recallForeign returns the facts of a Secret that another owner has, as long as the key was never issued: from the cache, or from a
// read for another key a moment ago, which confirms nothing. Nil if the Secret has to be read. The bytes of such a Secret do not matter.
func (r *Reconciler) recallForeign(ctx context.Context, key *v1alpha1.DGbotAPIKey) (facts *secretFacts, confirmed bool) {
	if key.Status.Current != nil {
		return nil, false
	}
	metadata := read.Metadata("Secret")
	if r.watchesSecrets() {
		found, err := read.Get(ctx, r.Client, secretNameOf(key), metadata)
		confirmed = err == nil && found
	}
	if confirmed {
		facts = &secretFacts{metadata: metadata.ObjectMeta}
	} else if shared := r.memory.lastForeign(secretNameOf(key), r.Clock.Now()); shared != nil {
		facts = shared.facts
	}
	if facts == nil || !isForeignTo(key, facts) {
		return nil, false
	}
	return facts, confirmed
}

func isForeignTo(key *v1alpha1.DGbotAPIKey, facts *secretFacts) bool {
	state, _ := facts.ownership(key)
	return state == revisions.SecretForeign || state == revisions.SecretCollectable
}

// foreignSecret is a Secret that was read for a key that does not own it.
type foreignSecret struct {
	facts *secretFacts
	at    time.Time
}

// rememberForeign keeps the facts of a Secret for other keys that name it.
func (m *memory) rememberForeign(name types.NamespacedName, facts *secretFacts, now time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for other, seen := range m.foreign {
		if !seen.isFresh(now) {
			delete(m.foreign, other)
		}
	}
	if m.foreign == nil {
		m.foreign = map[types.NamespacedName]foreignSecret{}
	}
	m.foreign[name] = foreignSecret{facts, now}
}

// lastForeign returns a Secret that was read less than foreignSecretAge ago; nil for none.
func (m *memory) lastForeign(name types.NamespacedName, now time.Time) *foreignSecret {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if seen, ok := m.foreign[name]; ok && seen.isFresh(now) {
		return &seen
	}
	return nil
}

func (m *memory) forgetForeign(name types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.foreign, name)
}

func (s *foreignSecret) isFresh(now time.Time) bool {
	age := now.Sub(s.at)
	return age >= 0 && age < foreignSecretAge
}
