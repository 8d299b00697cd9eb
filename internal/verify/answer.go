// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"iter"
	"sync/atomic"
	"time"
)

// answer is what a verifier says to a request, in the order in which things are asked: readiness, key, request, scopes.
type answer string

const (
	unready       answer = "unready"
	refusedKey    answer = "refused"
	badRequest    answer = "bad_request"
	missingScopes answer = "missing_scopes"
	good          answer = "good"
)

// question is one request for a verification, of whatever protocol.
type question struct {
	// names are those of all headers of the request that the answer is about.
	names                 iter.Seq[string]
	authorization, apiKey []string
	// scopes reads which scopes are asked for; ok is false where that cannot be read. It is called for good keys only.
	scopes func() (required []string, ok bool)
}

// finding is an answer with what belongs to it.
type finding struct {
	answer answer
	// entry is the key's, where the key is good.
	entry   *entry
	carried carried
	missing []string
}

// Verifier answers questions from an index.
type Verifier struct {
	index     *Index
	freshness *Freshness
	// identities are looked after on their own: that HMAC secrets cannot be read at the moment is no reason to refuse keys.
	identities        *identities
	identityFreshness *Freshness
	bound             Bound
	metrics           *metrics
	now               func() time.Time
	// draining says that the end was asked for: requests are still answered, and load balancers should send no more.
	draining atomic.Bool
}

func (v *Verifier) ask(q question) finding {
	f := v.find(q)
	v.metrics.answers[f.answer].Inc()
	if f.answer == good {
		f.entry.use.note(v.now())
	}
	return f
}

func (v *Verifier) find(q question) finding {
	now := v.now()
	if !v.freshness.answers(now, v.bound) {
		return finding{answer: unready}
	}
	c := credential(q.authorization, q.apiKey)
	e, reason := v.index.check(c.text, now)
	if e == nil {
		v.metrics.refused[reason].Inc()
		return finding{answer: refusedKey}
	}
	required, ok := q.scopes()
	if !ok || !haveValidNames(q.names) {
		return finding{answer: badRequest, entry: e}
	}
	if lacking := missing(e.traits.Value().scopes, required); len(lacking) > 0 {
		return finding{answer: missingScopes, entry: e, missing: lacking}
	}
	return finding{answer: good, entry: e, carried: c}
}
