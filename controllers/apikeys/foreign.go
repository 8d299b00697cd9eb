// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

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
	} else {
		facts = r.memory.lastForeign(secretNameOf(key), r.Clock.Now())
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

// lastForeign returns the facts of a Secret that was read less than foreignSecretAge ago; nil for none.
func (m *memory) lastForeign(name types.NamespacedName, now time.Time) *secretFacts {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if seen, ok := m.foreign[name]; ok && seen.isFresh(now) {
		return seen.facts
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
