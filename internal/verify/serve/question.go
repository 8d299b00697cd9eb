// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"iter"

	"dgbot.io/key-operator/internal/verify/index"
)

// answer is the result of a verification, as metrics name it. The checks have the order of the values: freshness, key, request, scopes.
type answer string

const (
	unready       answer = "unready"
	rejectedKey   answer = "refused"
	badRequest    answer = "bad_request"
	missingScopes answer = "missing_scopes"
	accepted      answer = "good"
)

// question is a request for a verification, independent of its protocol.
type question struct {
	// names are the names of all headers of the request to verify.
	names                 iter.Seq[string]
	authorization, apiKey []string
	// scopes reads the required scopes; ok is false if they are malformed. It is called for accepted keys only.
	scopes func() (required []string, ok bool)
	// isSlow is set if scopes may wait for the client. Then the verdict is formed again after it: the key may be revoked meanwhile.
	isSlow bool
}

// finding is an answer with its details.
type finding struct {
	answer answer
	// entry is the entry of the key, and cluster the name of the source that it is from; nil and empty if the key is rejected.
	entry      *index.Entry
	cluster    string
	credential credential
	// missing are the required scopes that the key does not have.
	missing []string
}

// ask answers a question, and notes the answer and, if the key is accepted, its use.
func (s *Server) ask(q question) finding {
	f := s.find(q)
	s.metrics.answers[f.answer].Inc()
	if f.answer == accepted {
		f.entry.Use().Note(s.now())
	}
	return f
}

// find answers a question.
func (s *Server) find(q question) finding {
	f := s.admit(q)
	if f.answer != accepted {
		return f
	}
	required, ok := q.scopes()
	if q.isSlow {
		if f = s.admit(q); f.answer != accepted {
			return f
		}
	}
	if !ok || !haveValidNames(q.names) {
		return finding{answer: badRequest, entry: f.entry}
	}
	if lacking := missing(f.entry.Scopes(), required); len(lacking) > 0 {
		return finding{answer: missingScopes, entry: f.entry, missing: lacking}
	}
	return f
}

// admit decides whether the key of a question is accepted at this moment.
func (s *Server) admit(q question) finding {
	now, data := s.now(), s.data.Load()
	c := findCredential(q.authorization, q.apiKey)
	key, ok := index.Read(c.text)
	if !ok {
		return s.reject(index.Malformed, data.first().Answers(now))
	}
	e, source, answers := data.find(&key, now)
	if !answers {
		return finding{answer: unready}
	}
	if reason := e.Check(&key, now); reason != "" {
		return s.reject(reason, true)
	}
	return finding{answer: accepted, entry: e, cluster: data.clusterOf(source), credential: c}
}

// reject returns the finding for a key that is rejected, or for a key about which nothing is known at this moment.
func (s *Server) reject(reason index.Reason, answers bool) finding {
	if !answers {
		return finding{answer: unready}
	}
	s.metrics.rejected[reason].Inc()
	return finding{answer: rejectedKey}
}
