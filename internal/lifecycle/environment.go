// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Environment is what is known of the environment that a key belongs to.
type Environment struct {
	// Rules of its DGbotEnvironment; nil where there is none.
	Rules *v1alpha1.DGbotEnvironmentSpec
	// Required: without a DGbotEnvironment no key is issued for the first time, and no scope is added to a key.
	Required bool
	// Known are the names of the DGbotEnvironments that exist, in any order; empty where Rules is set.
	Known []string
	// Excluded: the rules do not select the key's namespace.
	Excluded bool
	// Rank of the key among those of the environment in its namespace, the oldest being 1, and among those of them that are
	// for the same chatbot. Zero where the rules limit neither.
	Rank, ChatbotRank int
	// Windows of the rules.
	Windows []Window
}

// endOf is when a revision issued then ends by the key and by the rules; nil for never.
func (p *planner) endOf(issuedAt metav1.Time) *metav1.Time {
	if p.lifetime == 0 {
		return p.wants.expiresAt
	}
	end := metav1.Time{Time: issuedAt.Add(p.lifetime).UTC().Truncate(time.Second)}
	return earlier(p.wants.expiresAt, &end)
}

// scheduled returns when a revision issued then is due for rotation by time alone; nil where it is not.
func (p *planner) scheduled(issuedAt metav1.Time) *metav1.Time {
	due := scheduledAfter(p.uid, p.wants.rotation.Interval, issuedAt)
	var bound time.Duration
	var last *metav1.Time
	if r := p.published; r != nil && p.endsByRule(r) && r.IssuedAt.Equal(&issuedAt) {
		// Early enough for the overlap. It may have been issued under a shorter limit than today's.
		life := r.NotAfter.Sub(issuedAt.Time)
		bound = max(life-p.overlap, life/2)
		last = spreadBefore(p.uid, issuedAt, bound)
		due = earlier(due, last)
	}
	if due == nil || len(p.Environment.Windows) == 0 {
		return due
	}
	from, missed := withinWindows(p.Environment.Windows, p.uid, due.Time, p.now)
	p.wakeBy(missed) // then the rotation waits for another window
	switch {
	case bound > 0 && (from.IsZero() || from.After(issuedAt.Add(bound))):
		return last // no rule ends the key in use: not even by keeping it from being replaced
	case from.IsZero():
		return nil
	}
	return &metav1.Time{Time: from}
}

// endsByRule reports whether a rule, and not spec.expiresAt, bounds a revision: a new revision would expire later.
func (p *planner) endsByRule(r *Revision) bool {
	end := r.NotAfter
	return p.lifetime > 0 && end != nil && r.IssuedAt.Before(end) && (p.wants.expiresAt == nil || end.Before(p.wants.expiresAt))
}

// environmentGate returns what keeps a key from being issued for the first time: the absence of rules that are required, or a
// rule that the key breaks. A key that was issued has none: it goes on without its environment (condition EnvironmentMissing), and
// against a rule (condition PolicyViolation).
func (p *planner) environmentGate() *obstacle {
	if !p.issuesFirst() {
		return nil
	}
	rules := p.Environment.Rules
	switch {
	case rules == nil && p.Environment.Required:
		return p.environmentUnknown()
	case len(p.violations) > 0:
		return &obstacle{reason: v1alpha1.EnvironmentPolicyReason, stalled: true, message: p.policyViolation()}
	case p.highest == 0 && rules != nil && (rules.MaxKeysPerNamespace != nil || rules.OneKeyPerChatbot):
		// Of the keys of one second the rank is only known when that is over.
		if counted := countedAt(p.created); !p.reached(counted) {
			return &obstacle{reason: v1alpha1.ProgressingReason, until: counted, message: "The keys of the environment are being counted"}
		}
	}
	return nil
}

const (
	// environmentGrace is how long after its creation a key waits for its DGbotEnvironment before it is Stalled. Tools that apply
	// both in one go send the key first, and give up at once where an object is Stalled.
	environmentGrace = time.Minute
	// maxEnvironmentsNamed bounds how many DGbotEnvironments a message names.
	maxEnvironmentsNamed = 8
)

// environmentUnknown holds back the first issue of a key whose environment has no DGbotEnvironment.
func (p *planner) environmentUnknown() *obstacle {
	o := &obstacle{reason: v1alpha1.EnvironmentUnknownReason, stalled: true, message: fmt.Sprintf(
		"The key is not issued: DGbotEnvironment %q does not exist (%s); create it (config/environments has production, staging and development), "+
			"or, if the name is wrong, delete this key and create it again: spec.environment is immutable", p.wants.environment, existing(p.Environment.Known))}
	// A clock that is far from the API server's must not make the key wait for longer.
	if p.reached(p.created.Add(-environmentGrace)) && !p.reached(p.created.Add(environmentGrace)) {
		o.stalled, o.until = false, p.created.Add(environmentGrace)
	}
	return o
}

// existing names the DGbotEnvironments that exist.
func existing(names []string) string {
	if len(names) == 0 {
		return "there is no DGbotEnvironment yet"
	}
	names = slices.Sorted(slices.Values(names))
	more := ""
	if n := len(names) - maxEnvironmentsNamed; n > 0 {
		names, more = names[:maxEnvironmentsNamed], fmt.Sprintf(" and %d more", n)
	}
	return "existing: " + strings.Join(names, ", ") + more
}

// environmentMissing returns the message of the condition EnvironmentMissing; empty where the condition is absent.
func (p *planner) environmentMissing() string {
	if p.Environment.Rules != nil || !p.Environment.Required || p.issuesFirst() {
		return ""
	}
	return fmt.Sprintf("DGbotEnvironment %q does not exist: no rule for namespaces, scopes, rotation, lifetime or the number of keys is enforced, "+
		"and no audit; the key follows its own spec, and the operator adds no scope to it; create the DGbotEnvironment (config/environments has examples)", p.wants.environment)
}

// issuesFirst reports whether the next revision would be the key's first, as far as can be proven. Records and status.current, which
// only the operator may write, prove an earlier one, each alone: the loss of one stops no key, and the loss of both grants nothing.
// The Secret proves nothing, since any user of the namespace may write it.
func (p *planner) issuesFirst() bool {
	return p.cause == v1alpha1.CauseFirstIssue || p.cause != "" && p.highest == 0
}

// countedAfter is how long after a key's creation no older one appears any more. The creation has whole seconds, and the operator's clock can
// be ahead of the API server's by one and a half (see internal/servertime).
const countedAfter = 3 * time.Second

// CountedAt returns when all keys that are older than a key are known.
func CountedAt(key *v1alpha1.DGbotAPIKey) time.Time { return countedAt(key.CreationTimestamp) }

func countedAt(created metav1.Time) time.Time { return created.Add(countedAfter) }

// scopes returns those that the key's records are to have: of those that the environment does not grant, only what the records have
// already. A rule that comes takes nothing away, and a change of the key brings nothing in. The same holds while the environment is
// missing: the change of a key that arrives before the environment must not escape its rules.
func (p *planner) scopes() []v1alpha1.Scope {
	wanted, env := p.wants.scopes, &p.Environment
	if env.Rules == nil && !env.Required {
		return slices.Clone(wanted)
	}
	var has []v1alpha1.Scope
	if record := p.granted(&p.horizon); record != nil {
		has = record.Scopes
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(scope v1alpha1.Scope) bool {
		granted := env.Rules != nil && allowed(env.Rules, scope)
		return !granted && !slices.ContainsFunc(has, func(held v1alpha1.Scope) bool { return held.Covers(scope) })
	})
}

// policyViolation says which rules the key breaks.
func (p *planner) policyViolation() string {
	return fmt.Sprintf("Environment %q: %s", p.wants.environment, strings.Join(p.violations, "; "))
}
