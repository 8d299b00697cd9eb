// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// environmentGate returns what keeps a key from being issued for the first time: the absence of rules that are required, or a
// rule that the key breaks. A key that was issued has none: it goes on without its environment (condition EnvironmentMissing), and
// against a rule (condition PolicyViolation).
func (c *Case) environmentGate() *report.Obstacle {
	if !c.IssuesFirst() {
		return nil
	}
	rules := c.Environment.Rules
	switch {
	case rules == nil && c.Environment.Required:
		return c.environmentUnknown()
	case len(c.Violations) > 0:
		return &report.Obstacle{Reason: v1alpha1.EnvironmentPolicyReason, Stalled: true, Message: c.PolicyViolation()}
	case c.Highest == 0 && rules != nil && (rules.MaxKeysPerNamespace != nil || rules.OneKeyPerChatbot):
		// Of the keys of one second the rank is only known when that is over.
		if counted := effective.CountedAt(c.Created); !c.Reached(counted) {
			return &report.Obstacle{Reason: v1alpha1.ProgressingReason, Until: counted, Message: fmt.Sprintf(
				"The key waits until %s: environment %q limits the number of keys, and the operator counts its keys first", counted.UTC().Format(time.RFC3339), c.Wants.Environment)}
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
func (c *Case) environmentUnknown() *report.Obstacle {
	o := &report.Obstacle{Reason: v1alpha1.EnvironmentUnknownReason, Stalled: true, Message: fmt.Sprintf(
		"The operator does not issue the key: DGbotEnvironment %q does not exist (%s); create the DGbotEnvironment (examples: config/environments), "+
			"or, if spec.environment is wrong, delete this DGbotAPIKey and create it again: spec.environment is immutable", c.Wants.Environment, existing(c.Environment.Known))}
	// A clock that is far from the API server's must not make the key wait for longer.
	if c.Reached(c.Created.Add(-environmentGrace)) && !c.Reached(c.Created.Add(environmentGrace)) {
		o.Stalled, o.Until = false, c.Created.Add(environmentGrace)
	}
	return o
}

// existing names the DGbotEnvironments that exist.
func existing(names []string) string {
	if len(names) == 0 {
		return "existing: none"
	}
	names = slices.Sorted(slices.Values(names))
	more := ""
	if n := len(names) - maxEnvironmentsNamed; n > 0 {
		names, more = names[:maxEnvironmentsNamed], fmt.Sprintf(" and %d more", n)
	}
	return "existing: " + strings.Join(names, ", ") + more
}

// EnvironmentMissing returns the message of the condition EnvironmentMissing; empty where the condition is absent.
func (c *Case) EnvironmentMissing() string {
	if c.Environment.Rules != nil || !c.Environment.Required || c.IssuesFirst() {
		return ""
	}
	return fmt.Sprintf("DGbotEnvironment %q does not exist: the operator enforces no rules for namespaces, scopes, rotation, lifetime or the number of keys, "+
		"and does not audit the key. The key follows its own spec, and the operator adds no scopes to the key; create the DGbotEnvironment (examples: config/environments)", c.Wants.Environment)
}

// PolicyViolation says which rules the key breaks.
func (c *Case) PolicyViolation() string {
	return fmt.Sprintf("The key violates the rules of environment %q: %s", c.Wants.Environment, strings.Join(c.Violations, "; "))
}
