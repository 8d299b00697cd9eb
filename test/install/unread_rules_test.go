// SPDX-License-Identifier: Apache-2.0

package install

import (
	"path/filepath"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestFirstIssue_WaitsForTheRightToReadRules: a manager that works in some namespaces, and may not read the rules of environments or the
// labels that they select by, issues no key, reports why, and issues the key once it may. Not requiring environments changes none of it.
func TestFirstIssue_WaitsForTheRightToReadRules(t *testing.T) {
	t.Parallel()
	h := startHardened(t, filepath.Join("overlays", "namespaced"))
	h.Must("", "create", "namespace", "support")
	h.Must("", "apply", "-k", filepath.Join(controlplane.Repository(), "config", "overlays", "namespaced", "watched"), "-n", "support")
	h.Must(rules, "apply", "-f", "-")
	for name, flags := range map[string][]string{
		"required":     nil,
		"not-required": {"--require-environment=false"},
		"get-only":     {"--secret-access=get-only", "--require-environment=false"},
	} {
		for resource, read := range map[string]string{"dgbotenvironments": `DGbotEnvironment "production"`, "namespaces": `Namespace "support"`} {
			t.Run(name+" "+resource, func(t *testing.T) {
				restore := h.without(resource, "get", "list", "watch")
				operator := h.operate(nil, flags...)
				created := name + "-" + resource
				h.Must(strings.NewReplacer("namespace: default", "namespace: support", "name: crm", "name: "+created).Replace(key), "apply", "-f", "-")
				h.Eventually("the key names what cannot be read", func() (bool, string) {
					out := h.Must("", "get", "dgkey", created, "-n", "support", "-o", `jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}`)
					return strings.Contains(out, "Ready=False ObservationFailed") && strings.Contains(out, "Stalled=True") &&
						strings.Contains(out, read) && strings.Contains(out, "forbidden"), out
				})
				// With the slash: "not-required" ends in the name of another case, which may have issued its key before.
				if out := h.Must("", "get", "dgrec,secret", "-n", "support", "-o", "name"); strings.Contains(out, "/"+created) {
					t.Errorf("something was issued: %s", out)
				}
				restore()
				h.Must("", "wait", "--for=condition=Ready", "dgkey/"+created, "-n", "support", "--timeout=90s")
				testenv.StopIfRunning(h.T, operator)
			})
		}
	}
}
