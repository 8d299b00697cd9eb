// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"slices"
	"time"

	"dgbot.io/key-operator/internal/verify/index"
)

// Data is from what a Server answers. It is not changed once a Server uses it.
type Data struct {
	// Sources are the clusters whose keys are accepted, in order of precedence. Readiness goes by the first.
	Sources []Source
	// HasSeveral is set if answers say from which source a key is.
	HasSeveral bool
	// Chatbots are those of the first source. Their freshness is separate: keys are verified while HMAC secrets cannot be read.
	Chatbots         *index.Chatbots
	ChatbotFreshness Freshness
}

// Source is a cluster whose keys are accepted.
type Source struct {
	Name      string
	Keys      *index.Keys
	Freshness Freshness
	// Environments are those for which the cluster may vouch; empty for all.
	Environments []string
}

// mayVouchFor reports whether the source may know keys whose text names an environment.
func (s *Source) mayVouchFor(environment string) bool {
	return len(s.Environments) == 0 || slices.Contains(s.Environments, environment)
}

// find returns the entry that counts for a key, nil for none, and the source that it is from. answers is false if the verifier
// cannot decide: the source of the key is not up to date, or no source knows the key, and a source that may vouch for its environment is stale or
// incomplete.
//
// The first source that knows the key ID decides. A source is asked only for the environments that it may vouch for, so a source of staging cannot
// make a key of production valid, not even one that production has deleted.
func (d *Data) find(key *index.Presented, now time.Time) (found *index.Entry, from *Source, answers bool) {
	answers = len(d.Sources) > 0
	for i := range d.Sources {
		source := &d.Sources[i]
		if !source.mayVouchFor(key.Environment) {
			continue
		}
		// The freshness comes before the entry: an entry that was read while the source was stale must not count because the source is fresh a
		// moment later.
		isFresh := source.Freshness.Answers(now)
		e := source.Keys.Find(key)
		switch {
		case found != nil: // the other sources are asked all the same, so that the duration does not tell which one knows a key
		case e != nil:
			found, from, answers = e, source, isFresh
		default:
			answers = answers && isFresh && source.Freshness.Complete()
		}
	}
	return found, from, answers
}

// clusterOf returns the name of a source for answers: empty where there is only one.
func (d *Data) clusterOf(source *Source) string {
	if !d.HasSeveral {
		return ""
	}
	return source.Name
}

// first returns the freshness of the first source.
func (d *Data) first() Freshness {
	if len(d.Sources) == 0 {
		return nothing{}
	}
	return d.Sources[0].Freshness
}

// chatbotFreshness returns the freshness of the chatbots.
func (d *Data) chatbotFreshness() Freshness {
	if d.ChatbotFreshness == nil {
		return nothing{}
	}
	return d.ChatbotFreshness
}

// nothing is the freshness of what is not known at all.
type nothing struct{}

func (nothing) Answers(time.Time) bool { return false }
func (nothing) Ready(time.Time) bool   { return false }
func (nothing) Complete() bool         { return false }
func (nothing) Condition(time.Time) string {
	return "no source is usable: requests are denied"
}
