// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"iter"

	"dgbot.io/key-operator/internal/verify/index"
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
	entry   *index.Entry
	carried carried
	missing []string
}

func (s *Server) ask(q question) finding {
	f := s.find(q)
	s.metrics.answers[f.answer].Inc()
	if f.answer == good {
		f.entry.Use().Note(s.now())
	}
	return f
}

func (s *Server) find(q question) finding {
	now := s.now()
	if !s.KeyFreshness.Answers(now) {
		return finding{answer: unready}
	}
	c := credential(q.authorization, q.apiKey)
	e, reason := s.Keys.Check(c.text, now)
	if e == nil {
		s.metrics.refused[reason].Inc()
		return finding{answer: refusedKey}
	}
	required, ok := q.scopes()
	if !ok || !haveValidNames(q.names) {
		return finding{answer: badRequest, entry: e}
	}
	if lacking := missing(e.Scopes(), required); len(lacking) > 0 {
		return finding{answer: missingScopes, entry: e, missing: lacking}
	}
	return finding{answer: good, entry: e, carried: c}
}
