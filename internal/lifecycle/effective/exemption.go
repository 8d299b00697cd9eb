// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// ExemptionOf returns the exemption that holds for a key, of several the one with the latest until; nil where none does.
func ExemptionOf(rules *v1alpha1.EnvironmentAudit, namespace, name string, h *instant.Horizon) *v1alpha1.AuditExemption {
	var longest *v1alpha1.AuditExemption
	for i := range rules.Exemptions {
		e := &rules.Exemptions[i]
		if e.Name == name && e.Namespace == namespace && e.Until != nil && !h.Reached(e.Until.Time) &&
			(longest == nil || longest.Until.Before(e.Until)) {
			longest = e
		}
	}
	return longest
}
