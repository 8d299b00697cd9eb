// SPDX-License-Identifier: Apache-2.0

package internal_test

import "strings"

// lifecycleBoundaries are the rules of the policy, from its foundations up. No package of it does I/O, knows a clock or is random, and each
// knows only those that it names, all of them below it. The kinds do not know each other.
func lifecycleBoundaries() map[string]boundary {
	const policy = "internal/lifecycle"
	rule := func(names string) boundary {
		b := boundary{
			may:     []string{module + "/api/v1alpha1", "k8s.io/apimachinery"},
			mustNot: []string{"crypto/rand", "math/rand", "log", "log/slog", "net", "os", "io", "context", "sync", module + "/internal/apikey"},
			noClock: true,
			// Tests simulate clusters.
			inTests: []string{module + "/" + policy},
		}
		for _, name := range strings.Fields(names) {
			b.may = append(b.may, module+"/"+policy+"/"+name)
		}
		return b
	}
	// It reads versions as verifiers write them.
	propagation := rule("revisions")
	propagation.may = append(propagation.may, module+"/internal/registration")
	return map[string]boundary{
		policy + "/instant":     rule(""),
		policy + "/propagation": propagation,
		policy + "/standing":    rule(""),
		policy + "/steps":       rule(""),
		policy + "/report":      rule(""),
		policy + "/schedule":    rule("instant"),
		policy + "/requests":    rule("instant"),
		policy + "/revisions":   rule("instant standing"),
		policy + "/tracking":    rule("instant revisions"),
		policy + "/effective":   rule("instant schedule"),
		// The stages of a plan, in their order. None knows a later one.
		policy + "/facts":   rule("effective instant report requests revisions tracking"),
		policy + "/due":     rule("facts instant revisions schedule"),
		policy + "/audit":   rule("effective facts instant revisions tracking"),
		policy + "/gates":   rule("audit due effective facts instant report revisions steps"),
		policy + "/changes": rule("audit effective facts gates instant report revisions steps tracking"),
		policy + "/status":  rule("facts gates instant report requests revisions"),
		// What the three kinds observe and report.
		policy:                   rule("audit changes effective facts gates instant propagation report requests revisions standing status steps tracking"),
		policy + "/chatbots":     rule("changes effective facts gates instant report requests revisions status steps"),
		policy + "/environments": rule("effective instant report"),
	}
}
