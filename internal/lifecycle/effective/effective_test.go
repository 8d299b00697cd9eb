// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

var created = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func hours(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }

// under returns what a key gets that asks for a rotation, in an environment with rules for rotations.
func under(rules v1alpha1.EnvironmentRotation, asks v1alpha1.Rotation) Spec {
	return UnderRules(Subject{Created: metav1.Time{Time: created}, Asks: Desired{State: v1alpha1.StateActive, Rotation: asks},
		Environment: Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &rules}}}, &instant.Horizon{Now: created})
}

// TestUnderRules_LimitsRotations: what a key does not ask for is filled in, and what it asks too much or too little of is limited and named.
func TestUnderRules_LimitsRotations(t *testing.T) {
	for name, tc := range map[string]struct {
		rules             v1alpha1.EnvironmentRotation
		asks              v1alpha1.Rotation
		interval, overlap int
		breaks            string
	}{
		"no rules, nothing asked":             {overlap: 24},
		"a default":                           {rules: v1alpha1.EnvironmentRotation{DefaultInterval: hours(100), MaxInterval: hours(200)}, interval: 100, overlap: 24},
		"the longest where there is none":     {rules: v1alpha1.EnvironmentRotation{MaxInterval: hours(200)}, interval: 200, overlap: 24},
		"within":                              {rules: v1alpha1.EnvironmentRotation{MinInterval: hours(10), MaxInterval: hours(200)}, asks: v1alpha1.Rotation{Interval: hours(50)}, interval: 50, overlap: 24},
		"too long":                            {rules: v1alpha1.EnvironmentRotation{MaxInterval: hours(200)}, asks: v1alpha1.Rotation{Interval: hours(300)}, interval: 200, overlap: 24, breaks: "maxInterval"},
		"too short":                           {rules: v1alpha1.EnvironmentRotation{MinInterval: hours(100)}, asks: v1alpha1.Rotation{Interval: hours(10)}, interval: 100, overlap: 24, breaks: "minInterval"},
		"an overlap that is too long":         {rules: v1alpha1.EnvironmentRotation{MaxOverlap: hours(2)}, asks: v1alpha1.Rotation{Overlap: hours(5)}, overlap: 2, breaks: "maxOverlap"},
		"the usual overlap is too long":       {rules: v1alpha1.EnvironmentRotation{MaxOverlap: hours(2)}, overlap: 2},
		"a default overlap":                   {rules: v1alpha1.EnvironmentRotation{DefaultOverlap: hours(3)}, overlap: 3},
		"an overlap within a filled interval": {rules: v1alpha1.EnvironmentRotation{DefaultInterval: hours(8)}, asks: v1alpha1.Rotation{Overlap: hours(9)}, interval: 8, overlap: 4},
	} {
		got := under(tc.rules, tc.asks)
		var interval time.Duration
		if got.Wants.Rotation.Interval != nil {
			interval = got.Wants.Rotation.Interval.Duration
		}
		violations := strings.Join(got.Violations, "; ")
		if interval != hours(tc.interval).Duration || got.Wants.Overlap() != hours(tc.overlap).Duration || (tc.breaks != "") != (violations != "") || !strings.Contains(violations, tc.breaks) {
			t.Errorf("%s: interval %s, overlap %s, violations %q", name, interval, got.Wants.Overlap(), violations)
		}
	}
}

// TestUnderRules_BoundsALifeByItsRevisions: a key that asks to live too long goes on, and each of its revisions expires in time.
func TestUnderRules_BoundsALifeByItsRevisions(t *testing.T) {
	for name, tc := range map[string]struct {
		expiresAt *metav1.Time
		isBounded bool
	}{
		"no end":              {nil, true},
		"an end in time":      {&metav1.Time{Time: created.Add(time.Hour)}, false},
		"at the last":         {&metav1.Time{Time: created.Add(100 * time.Hour)}, false},
		"an end that is late": {&metav1.Time{Time: created.Add(101 * time.Hour)}, true},
	} {
		rules := &v1alpha1.DGbotEnvironmentSpec{MaxLifetime: hours(100)}
		got := UnderRules(Subject{Created: metav1.Time{Time: created}, Asks: Desired{ExpiresAt: tc.expiresAt}, Environment: Environment{Rules: rules}}, &instant.Horizon{Now: created})
		if (got.Lifetime != 0) != tc.isBounded || (len(got.Violations) != 0) != tc.isBounded || (got.Wants.Rotation.Interval != nil) != tc.isBounded {
			t.Errorf("%s: lifetime %s, interval %v, violations %q", name, got.Lifetime, got.Wants.Rotation.Interval, got.Violations)
		}
	}
}

// TestUnderRules_NamesWhatAKeyBreaks where there is nothing to limit.
func TestUnderRules_NamesWhatAKeyBreaks(t *testing.T) {
	one := int32(1)
	rules := &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"conversations.*"}, MaxKeysPerNamespace: &one, OneKeyPerChatbot: true}
	within := Subject{
		Namespace: "support", Asks: Desired{Scopes: []v1alpha1.Scope{"conversations.read"}, Chatbot: "bot", Environment: "production"},
		Chatbot: Chatbot{ID: "cb_1", Environment: "production"}, Environment: Environment{Rules: rules, Rank: 1, ChatbotRank: 1},
	}
	if got := UnderRules(within, &instant.Horizon{Now: created}); len(got.Violations) != 0 {
		t.Errorf("a key within the rules: %q", got.Violations)
	}
	for want, change := range map[string]func(*Subject){
		"allowedScopes":       func(s *Subject) { s.Asks.Scopes = []v1alpha1.Scope{"conversations.read", "admin.all"} },
		"maxKeysPerNamespace": func(s *Subject) { s.Environment.Rank = 2 },
		"oneKeyPerChatbot":    func(s *Subject) { s.Environment.ChatbotRank = 2 },
		"namespaceSelector":   func(s *Subject) { s.Environment.Excluded = true },
		"spec.chatbotRef":     func(s *Subject) { s.Chatbot.Environment = "staging" },
	} {
		subject := within
		change(&subject)
		if got := UnderRules(subject, &instant.Horizon{Now: created}); len(got.Violations) != 1 || !strings.Contains(got.Violations[0], want) {
			t.Errorf("%s: %q", want, got.Violations)
		}
	}
}

// TestUnderAudit_TakesTheStricter state of spec and audit.
func TestUnderAudit_TakesTheStricter(t *testing.T) {
	for _, tc := range []struct {
		asks, audited, want v1alpha1.KeyState
		isHeld              bool
	}{
		{v1alpha1.StateActive, v1alpha1.StateActive, v1alpha1.StateActive, false},
		{v1alpha1.StateActive, v1alpha1.StateDisabled, v1alpha1.StateDisabled, true},
		{v1alpha1.StateDisabled, v1alpha1.StateDisabled, v1alpha1.StateDisabled, false},
		{v1alpha1.StateDisabled, v1alpha1.StateRevoked, v1alpha1.StateRevoked, true},
		{v1alpha1.StateRevoked, v1alpha1.StateDisabled, v1alpha1.StateRevoked, false},
	} {
		if got, isHeld := UnderAudit(tc.asks, tc.audited); got != tc.want || isHeld != tc.isHeld {
			t.Errorf("asks %s, audited %s: %s, held %t", tc.asks, tc.audited, got, isHeld)
		}
	}
}
