// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"cmp"
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

// held is a key as the rules of its environment let it be.
type held struct {
	// key is the one that was observed where the rules change nothing of it.
	key *v1alpha1.DGbotAPIKey
	// violations are the rules that it breaks, each with limit and value.
	violations []string
	// lifetime bounds the revisions of a key that may not live as long as it wants to; zero for no bound.
	lifetime time.Duration
}

// hold holds a key to the rules. What its spec does not say is filled in, and what it says too much or too little of is the
// nearest that is permitted; both as if it were written there, so that nothing else of the policy has to know of rules.
func hold(key *v1alpha1.DGbotAPIKey, env *Environment, now time.Time) held {
	h := held{key: key}
	if env.Rules == nil {
		return h
	}
	h.key = key.DeepCopy()
	h.membership(env)
	h.interval(env.Rules.Rotation)
	h.overlap(env.Rules.Rotation)
	h.expiry(env.Rules.MaxLifetime, now)
	return h
}

func (h *held) violate(format string, args ...any) {
	h.violations = append(h.violations, fmt.Sprintf(format, args...))
}

// membership is who may hold a key, for what, and how many of them. There is nothing to be held to.
func (h *held) membership(env *Environment) {
	rules := env.Rules
	if env.Excluded {
		h.violate("namespace %q is not among those that may hold its keys (namespaceSelector: %s): label the namespace to match, or change the selector", h.key.Namespace, selectorText(rules.NamespaceSelector))
	}
	for _, scope := range h.key.Spec.Scopes {
		if !allowed(rules, scope) {
			h.violate("spec.scopes has %q, and allowedScopes are %q", scope, rules.AllowedScopes)
		}
	}
	if limit := rules.MaxKeysPerNamespace; limit != nil && env.Rank > int(*limit) {
		h.violate("this is key %d of it in namespace %q by age, and maxKeysPerNamespace is %d", env.Rank, h.key.Namespace, *limit)
	}
	if rules.OneKeyPerChatbot && h.key.Spec.ChatbotRef != nil && env.ChatbotRank > 1 {
		h.violate("this is key %d of it for DGbotChatbot %q by age, and oneKeyPerChatbot allows 1", env.ChatbotRank, h.key.Spec.ChatbotRef.Name)
	}
}

// selectorText is a selector as people write it, or what is wrong with it.
func selectorText(selector *metav1.LabelSelector) string {
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		return err.Error()
	}
	return metav1.FormatLabelSelector(selector)
}

// allowed says whether a scope may be held: every one where the rules do not limit them.
func allowed(rules *v1alpha1.DGbotEnvironmentSpec, scope v1alpha1.Scope) bool {
	return len(rules.AllowedScopes) == 0 ||
		slices.ContainsFunc(rules.AllowedScopes, func(pattern v1alpha1.Scope) bool { return pattern.Covers(scope) })
}

// rotation of the key, which is there to be filled in.
func (h *held) rotation() *v1alpha1.Rotation {
	if h.key.Spec.Rotation == nil {
		h.key.Spec.Rotation = &v1alpha1.Rotation{}
	}
	return h.key.Spec.Rotation
}

func (h *held) interval(rules *v1alpha1.EnvironmentRotation) {
	if rules == nil {
		return
	}
	if h.key.Spec.Rotation == nil || h.key.Spec.Rotation.Interval == nil {
		// The longest that is permitted is no violation: the key has not asked for more.
		if usual := cmp.Or(rules.DefaultInterval, rules.MaxInterval); usual != nil {
			h.rotation().Interval = usual
		}
		return
	}
	r := h.key.Spec.Rotation
	switch {
	case rules.MinInterval != nil && r.Interval.Duration < rules.MinInterval.Duration:
		h.violate("spec.rotation.interval is %s, and rotation.minInterval is %s", r.Interval.Duration, rules.MinInterval.Duration)
		r.Interval = rules.MinInterval
	case rules.MaxInterval != nil && r.Interval.Duration > rules.MaxInterval.Duration:
		h.violate("spec.rotation.interval is %s, and rotation.maxInterval is %s", r.Interval.Duration, rules.MaxInterval.Duration)
		r.Interval = rules.MaxInterval
	}
}

// overlap comes after the interval, which bounds it.
func (h *held) overlap(rules *v1alpha1.EnvironmentRotation) {
	if rules == nil {
		return
	}
	asked := h.key.Spec.Rotation != nil && h.key.Spec.Rotation.Overlap != nil
	if !asked && rules.DefaultOverlap != nil {
		h.rotation().Overlap = rules.DefaultOverlap
	}
	longest := rules.MaxOverlap
	if longest == nil {
		longest = &metav1.Duration{Duration: 1<<63 - 1}
	}
	if r := h.key.Spec.Rotation; asked && r.Overlap.Duration > longest.Duration {
		h.violate("spec.rotation.overlap is %s, and rotation.maxOverlap is %s", r.Overlap.Duration, longest.Duration)
		r.Overlap = longest
	}
	h.overlapWithinInterval()
	if Overlap(&h.key.Spec) > longest.Duration {
		h.rotation().Overlap = longest
	}
	if r := h.key.Spec.Rotation; RetireOf(&h.key.Spec) == v1alpha1.RetireWhenUnused && r.MaxOverlap != nil && r.MaxOverlap.Duration > longest.Duration {
		h.violate("spec.rotation.maxOverlap is %s, and rotation.maxOverlap is %s", r.MaxOverlap.Duration, longest.Duration)
		r.MaxOverlap = longest
	}
}

// overlapWithinInterval is for an interval that was filled in or held to a limit: otherwise the API server would have refused the two.
func (h *held) overlapWithinInterval() {
	if r := h.key.Spec.Rotation; r != nil && r.Interval != nil && r.Overlap != nil && r.Overlap.Duration >= r.Interval.Duration {
		r.Overlap = &metav1.Duration{Duration: r.Interval.Duration / 2}
	}
}

// expiry holds a key that lives too long by its revisions: each ends in time, and is replaced before. Ending the key itself would
// take keys away that verify, as soon as there is such a rule.
func (h *held) expiry(limit *metav1.Duration, now time.Time) {
	if limit == nil {
		return
	}
	latest := h.key.CreationTimestamp.Add(limit.Duration)
	advice := fmt.Sprintf("set it to %s or earlier", latest.UTC().Format(time.RFC3339))
	if !now.Before(latest) {
		advice = "the key is older than that, so replace it by another DGbotAPIKey"
	}
	switch end := h.key.Spec.ExpiresAt; {
	case end == nil:
		h.violate("spec.expiresAt is not set, and maxLifetime is %s: %s", limit.Duration, advice)
	case end.After(latest):
		h.violate("spec.expiresAt is %s, and maxLifetime is %s: %s", rfc3339(end), limit.Duration, advice)
	default:
		return
	}
	h.lifetime = limit.Duration
	if r := h.rotation(); r.Interval == nil || r.Interval.Duration > h.lifetime {
		r.Interval = limit
	}
	h.overlapWithinInterval()
}

// endOf is when a revision issued then ends by the key and by the rules; nil for never.
func (p *planner) endOf(issuedAt metav1.Time) *metav1.Time {
	if p.held.lifetime == 0 {
		return p.Key.Spec.ExpiresAt
	}
	end := metav1.Time{Time: issuedAt.Add(p.held.lifetime).UTC().Truncate(time.Second)}
	return earlier(p.Key.Spec.ExpiresAt, &end)
}

// scheduled is when a revision issued then is due for rotation by time alone; nil where it is not.
func (p *planner) scheduled(issuedAt metav1.Time) *metav1.Time {
	at, _ := p.schedule(issuedAt)
	return at
}

// schedule also says until when that is so; nil where it stays so.
func (p *planner) schedule(issuedAt metav1.Time) (at, until *metav1.Time) {
	due := scheduledAfter(p.Key.UID, &p.Key.Spec, issuedAt)
	var bound time.Duration
	var last *metav1.Time
	if r := p.published; r != nil && p.endsByRule(r) && r.IssuedAt.Equal(&issuedAt) {
		// Early enough for the overlap. It may have been issued under a shorter limit than today's.
		life := r.NotAfter.Sub(issuedAt.Time)
		bound = max(life-p.overlap, life/2)
		last = spreadBefore(p.Key.UID, issuedAt, bound)
		due = earlier(due, last)
	}
	if due == nil || len(p.Environment.Windows) == 0 {
		return due, nil
	}
	from, missed := withinWindows(p.Environment.Windows, p.Key.UID, due.Time, p.now)
	switch {
	case bound > 0 && (from.IsZero() || from.After(issuedAt.Add(bound))):
		return last, nil // no rule ends the key in use: not even by keeping it from being replaced
	case from.IsZero():
		return nil, nil
	}
	return &metav1.Time{Time: from}, &metav1.Time{Time: missed}
}

// endsByRule says whether a record has an end that is not the key's own: one that a new revision would not have as well.
func (p *planner) endsByRule(r *Revision) bool {
	end := r.NotAfter
	return p.held.lifetime > 0 && end != nil && r.IssuedAt.Before(end) && (p.Key.Spec.ExpiresAt == nil || end.Before(p.Key.Spec.ExpiresAt))
}

// environmentObstacle returns what keeps a key from being issued for the first time: the absence of rules that are required, or a
// rule that the key breaks. A key that was issued has none: it goes on without its environment (condition EnvironmentMissing), and
// against a rule (condition PolicyViolation).
func (p *planner) environmentObstacle() *obstacle {
	if !p.issuesFirst() {
		return nil
	}
	rules := p.Environment.Rules
	switch {
	case rules == nil && p.Environment.Required:
		return p.environmentUnknown()
	case len(p.held.violations) > 0:
		return &obstacle{reason: v1alpha1.EnvironmentPolicyReason, stalled: true, message: p.policyViolation()}
	case p.highest == 0 && rules != nil && (rules.MaxKeysPerNamespace != nil || rules.OneKeyPerChatbot):
		// Of the keys of one second the rank is only known when that is over.
		if counted := CountedAt(p.Key); p.now.Before(counted) {
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
			"or, if the name is wrong, delete this key and create it again: spec.environment is immutable", p.Key.Spec.Environment, existing(p.Environment.Known))}
	// A clock that is far from the API server's must not make the key wait for longer.
	if age := p.now.Sub(p.Key.CreationTimestamp.Time); age.Abs() < environmentGrace {
		o.stalled, o.until = false, p.Key.CreationTimestamp.Add(environmentGrace)
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
		"and no audit; the key follows its own spec, and the operator adds no scope to it; create the DGbotEnvironment (config/environments has examples)", p.Key.Spec.Environment)
}

// issuesFirst reports whether the next revision would be the key's first, as far as can be proven. Records and status.current, which
// only the operator may write, prove an earlier one, each alone: the loss of one stops no key, and the loss of both grants nothing.
// The Secret proves nothing, since any user of the namespace may write it.
func (p *planner) issuesFirst() bool {
	return p.cause == v1alpha1.CauseFirstIssue || p.cause != "" && p.highest == 0
}

// countedAfter is how long after a key's creation no older one appears any more.
const countedAfter = 2 * time.Second

// CountedAt returns when all keys that are older than a key are known.
func CountedAt(key *v1alpha1.DGbotAPIKey) time.Time { return key.CreationTimestamp.Add(countedAfter) }

// scopes returns those that the key's records are to have: of those that the environment does not grant, only what the records have
// already. A rule that comes takes nothing away, and a change of the key brings nothing in. The same holds while the environment is
// missing: the change of a key that arrives before the environment must not escape its rules.
func (p *planner) scopes() []v1alpha1.Scope {
	wanted, env := p.Key.Spec.Scopes, &p.Environment
	if env.Rules == nil && !env.Required {
		return slices.Clone(wanted)
	}
	var has []v1alpha1.Scope
	if record := p.granted(); record != nil {
		has = record.Scopes
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(scope v1alpha1.Scope) bool {
		granted := env.Rules != nil && allowed(env.Rules, scope)
		return !granted && !slices.ContainsFunc(has, func(held v1alpha1.Scope) bool { return held.Covers(scope) })
	})
}

// policyViolation says which rules the key breaks.
func (p *planner) policyViolation() string {
	return fmt.Sprintf("Environment %q: %s", p.Key.Spec.Environment, strings.Join(p.held.violations, "; "))
}
