// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var update = flag.Bool("update", false, "write the test data of config/integrations/argocd anew, from what the policy says of each state")

// customizations is laid out as Argo CD's own folder resource_customizations.
var customizations = filepath.Join(controlplane.Repository(), "config", "integrations", "argocd", "keys.dgbot.io")

// TestTheTestDataIsWhatThePolicySays: the objects that Argo CD's own tests would read are in the states of this package, and there
// is one for each.
func TestTheTestDataIsWhatThePolicySays(t *testing.T) {
	want := map[string][]string{}
	for _, s := range states(t) {
		file := filepath.Join(customizations, s.kind, "testdata", s.name+".yaml")
		want[s.kind] = append(want[s.kind], filepath.Base(file))
		content, err := yaml.Marshal(s.unstructured(t).Object)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if there := read(t, file); there != string(content) {
			t.Errorf("%s is not what the policy says of this state: run 'go test ./test/gitops -update', and read what changes\nwant\n%s\ngot\n%s", file, content, there)
		}
	}
	for kind, names := range want {
		files, err := filepath.Glob(filepath.Join(customizations, kind, "testdata", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !slices.Contains(names, filepath.Base(file)) {
				t.Errorf("%s is no state's", file)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// readYAML takes what T has, and leaves the rest.
func readYAML[T any](t *testing.T, path string) T {
	t.Helper()
	var into T
	if err := yaml.Unmarshal([]byte(read(t, path)), &into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return into
}
