// SPDX-License-Identifier: Apache-2.0

// Package effective computes what an owner gets from what its spec asks for, the rules of its environment and the audit.
package effective

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// What an owner asks for becomes what it gets in three steps, each a function of values: DesiredBy reads the spec, UnderRules applies the
// rules of the environment, and UnderAudit the audit. Nothing else of the policy knows of rules: it sees the result as if it were
// written in spec.

// Subject is what the rules look at.
type Subject struct {
	Namespace   string
	Created     metav1.Time
	Asks        Desired
	Chatbot     Chatbot
	Environment Environment
}

// Spec is what an owner gets.
type Spec struct {
	Wants Desired
	// Violations are the rules that the key breaks, each with limit and value.
	Violations []string
	// Lifetime bounds the revisions of a key that asks to live for longer than the rules allow; zero for no bound.
	Lifetime time.Duration
}

func (e *Spec) violate(format string, args ...any) {
	e.Violations = append(e.Violations, fmt.Sprintf(format, args...))
}

// UnderRules returns what an owner gets under the rules of its environment. What it does not ask for is filled in, and what it asks too
// much or too little of becomes the nearest permitted value.
func UnderRules(s Subject, h *instant.Horizon) Spec {
	e := Spec{Wants: s.Asks}
	if rules := s.Environment.Rules; rules != nil {
		e.checkMembership(&s)
		e.limitInterval(rules.Rotation)
		e.limitOverlap(rules.Rotation)
		e.limitLifetime(rules.MaxLifetime, &s, h)
	}
	e.checkChatbot(&s)
	e.checkTemplate()
	return e
}

// checkChatbot notes a chatbot of another environment. It is a violation like those of the environment's rules: it stops the first
// issue, and a key that was issued goes on with the chatbot ID that it has.
func (e *Spec) checkChatbot(s *Subject) {
	if s.Chatbot.IsOutside(s.Asks.Environment) {
		e.violate("spec.chatbotRef names DGbotChatbot %q of environment %q, and the key belongs to environment %[3]q: name a DGbotChatbot of environment %[3]q",
			s.Asks.Chatbot, s.Chatbot.Environment, s.Asks.Environment)
	}
}

// UnderAudit returns the state that an owner gets once its environment is audited, which is the stricter of its own and the audit's. It reports
// whether that is the audit's.
func UnderAudit(asked, audited v1alpha1.KeyState) (state v1alpha1.KeyState, isHeld bool) {
	if Strictness[audited] <= Strictness[asked] {
		return asked, false
	}
	return audited, true
}

// checkMembership notes which rules about namespaces, scopes and the number of keys the key breaks. There is nothing to limit.
func (e *Spec) checkMembership(s *Subject) {
	env, rules := &s.Environment, s.Environment.Rules
	if env.Excluded {
		e.violate("namespace %q does not match namespaceSelector (%s): label the namespace, or change the selector",
			s.Namespace, selectorText(rules.NamespaceSelector))
	}
	for _, scope := range e.Wants.Scopes {
		if !Allowed(rules, scope) {
			e.violate("spec.scopes has %q, and allowedScopes are %q: remove the scope, or allow it", scope, rules.AllowedScopes)
		}
	}
	if limit := rules.MaxKeysPerNamespace; limit != nil && env.Rank > int(*limit) {
		e.violate("this is key %d by age in namespace %q, and maxKeysPerNamespace is %d: delete older keys, or raise the limit", env.Rank, s.Namespace, *limit)
	}
	if rules.OneKeyPerChatbot && e.Wants.Chatbot != "" && env.ChatbotRank > 1 {
		e.violate("this is key %d by age for DGbotChatbot %q, and oneKeyPerChatbot allows 1: delete the older key, or name another DGbotChatbot", env.ChatbotRank, e.Wants.Chatbot)
	}
}

// selectorText returns a selector as users write it, or what is wrong with it.
func selectorText(selector *metav1.LabelSelector) string {
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		return err.Error()
	}
	return metav1.FormatLabelSelector(selector)
}

// Allowed reports whether the rules allow a scope: every one where they do not limit scopes.
func Allowed(rules *v1alpha1.DGbotEnvironmentSpec, scope v1alpha1.Scope) bool {
	return len(rules.AllowedScopes) == 0 ||
		slices.ContainsFunc(rules.AllowedScopes, func(pattern v1alpha1.Scope) bool { return pattern.Covers(scope) })
}

func (e *Spec) limitInterval(rules *v1alpha1.EnvironmentRotation) {
	if rules == nil {
		return
	}
	r := &e.Wants.Rotation
	if r.Interval == nil {
		// The longest permitted interval is no violation: the key has not asked for more.
		r.Interval = cmp.Or(rules.DefaultInterval, rules.MaxInterval)
		return
	}
	switch {
	case rules.MinInterval != nil && r.Interval.Duration < rules.MinInterval.Duration:
		e.violate("spec.rotation.interval is %s, and rotation.minInterval is %s: set a longer interval", r.Interval.Duration, rules.MinInterval.Duration)
		r.Interval = rules.MinInterval
	case rules.MaxInterval != nil && r.Interval.Duration > rules.MaxInterval.Duration:
		e.violate("spec.rotation.interval is %s, and rotation.maxInterval is %s: set a shorter interval", r.Interval.Duration, rules.MaxInterval.Duration)
		r.Interval = rules.MaxInterval
	}
}

// limitOverlap comes after limitInterval, because the interval bounds the overlap.
func (e *Spec) limitOverlap(rules *v1alpha1.EnvironmentRotation) {
	if rules == nil {
		return
	}
	r := &e.Wants.Rotation
	asked := r.Overlap != nil
	if !asked {
		r.Overlap = rules.DefaultOverlap
	}
	longest := rules.MaxOverlap
	if longest == nil {
		longest = &metav1.Duration{Duration: 1<<63 - 1}
	}
	if asked && r.Overlap.Duration > longest.Duration {
		e.violate("spec.rotation.overlap is %s, and rotation.maxOverlap is %s: set a shorter overlap", r.Overlap.Duration, longest.Duration)
		r.Overlap = longest
	}
	e.keepOverlapWithinInterval()
	if e.Wants.Overlap() > longest.Duration {
		r.Overlap = longest
	}
	if e.Wants.WhenUnused() && r.MaxOverlap != nil && r.MaxOverlap.Duration > longest.Duration {
		e.violate("spec.rotation.maxOverlap is %s, and the environment's rotation.maxOverlap is %s: set a shorter maxOverlap", r.MaxOverlap.Duration, longest.Duration)
		r.MaxOverlap = longest
	}
}

// keepOverlapWithinInterval is for an interval that a rule filled in or limited: otherwise the API server would have rejected the two.
func (e *Spec) keepOverlapWithinInterval() {
	if r := &e.Wants.Rotation; r.Interval != nil && r.Overlap != nil && r.Overlap.Duration >= r.Interval.Duration {
		r.Overlap = &metav1.Duration{Duration: r.Interval.Duration / 2}
	}
}

// limitLifetime limits a key that lives too long by its revisions: each expires in time, and is replaced before. To expire the key
// itself would end keys that verify, as soon as there is such a rule.
func (e *Spec) limitLifetime(limit *metav1.Duration, s *Subject, h *instant.Horizon) {
	if limit == nil {
		return
	}
	latest := s.Created.Add(limit.Duration)
	advice := fmt.Sprintf("set spec.expiresAt to %s or earlier", latest.UTC().Format(time.RFC3339))
	if h.Reached(latest) {
		advice = "the key is older than maxLifetime, so create another DGbotAPIKey and delete this one"
	}
	switch end := e.Wants.ExpiresAt; {
	case end == nil:
		e.violate("spec.expiresAt is not set, and maxLifetime is %s: %s", limit.Duration, advice)
	case end.After(latest):
		e.violate("spec.expiresAt is %s, and maxLifetime is %s: %s", instant.Format(end), limit.Duration, advice)
	default:
		return
	}
	e.Lifetime = limit.Duration
	if r := &e.Wants.Rotation; r.Interval == nil || r.Interval.Duration > e.Lifetime {
		r.Interval = limit
	}
	e.keepOverlapWithinInterval()
}
