// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// headerNames returns the names in a text that begin with X-DGbot-, in lower case and with "-" for "_", each once.
func headerNames(text string) []string {
	var names []string
	for _, name := range regexp.MustCompile(`(?i)\bx[-_]dgbot[-_][a-z]+(?:[-_][a-z]+)*`).FindAllString(text, -1) {
		names = append(names, strings.ReplaceAll(strings.ToLower(name), "_", "-"))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestHeaders_GatewaysPassAllOfThem: a gateway that overwrites only some of the verifier's headers lets a caller's own
// value of the others through.
func TestHeaders_GatewaysPassAllOfThem(t *testing.T) {
	want := headerNames(read(t, "internal", "verify", "serve", "http.go"))
	if len(want) != 6 {
		t.Fatalf("the verifier has the headers %q, want five and the one that asks for scopes", want)
	}
	for _, path := range [][]string{{"config", "integrations", "gateways", "nginx", "dgbot_to_api.conf"}, {"config", "integrations", "gateways", "envoy", "http.yaml"}, {"config", "integrations", "gateways", "caddy", "Caddyfile"}, {"docs", "verifier.md"}} {
		if got := headerNames(read(t, path...)); !slices.Equal(got, want) {
			t.Errorf("%v names %q, the verifier has %q", path, got, want)
		}
	}
}

// TestRequests_PolicyAllowsTheAnnotations: a rotator may change exactly the annotations that the operator reads as requests
// of a rotation or revocation.
func TestRequests_PolicyAllowsTheAnnotations(t *testing.T) {
	want := "['" + v1alpha1.RotateRequestedAtAnnotation + "', '" + v1alpha1.RevokeIssuedBeforeAnnotation + "']"
	if policy := read(t, "config", "policy", "rotators.yaml"); !strings.Contains(policy, `expression: "`+want+`"`) {
		t.Errorf("config/policy/rotators.yaml does not allow exactly %s", want)
	}
}
