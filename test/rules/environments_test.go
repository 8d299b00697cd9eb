// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestEnvironments_OfTheFirstStepsForbidNothing: keys are issued only once their environment exists, so a new user creates these three
// before the first key.
func TestEnvironments_OfTheFirstStepsForbidNothing(t *testing.T) {
	got := map[string]v1alpha1.DGbotEnvironmentSpec{}
	for document := range strings.SplitSeq(read(t, "config", "environments", "environments.yaml"), "\n---\n") {
		var environment v1alpha1.DGbotEnvironment
		if err := yaml.UnmarshalStrict([]byte(document), &environment); err != nil {
			t.Fatal(err)
		}
		got[environment.Name] = environment.Spec
	}
	if names, want := slices.Sorted(maps.Keys(got)), []string{"development", "production", "staging"}; !slices.Equal(names, want) {
		t.Errorf("config/environments has %v, want %v", names, want)
	}
	for name, spec := range got {
		if want := (v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"*"}}); !reflect.DeepEqual(spec, want) {
			t.Errorf("environment %s has the rules %+v, want none but the scope *", name, spec)
		}
	}
	// Before the first key of the page, and among the commands of the installation.
	page := read(t, "README.md")
	const command = "kubectl create -k config/environments"
	if first := strings.Index(page, command); first < 0 || first > strings.Index(page, "kind: DGbotAPIKey") {
		t.Errorf("README.md does not have %q before its first key", command)
	}
	_, install, _ := strings.Cut(page, "\n## Install\n")
	if !strings.Contains(install, command) {
		t.Errorf("README.md does not have %q in Install", command)
	}
}
