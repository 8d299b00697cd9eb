// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/api/v1alpha1"
)

var kinds = []string{v1alpha1.APIKeyKind, v1alpha1.ChatbotKind, v1alpha1.EnvironmentKind}

// health is what a health.lua returns.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// healthTests is a health_test.yaml.
type healthTests struct {
	Tests []healthTest `json:"tests"`
}

type healthTest struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

func healthOf(t *testing.T, script string, object map[string]any) health {
	t.Helper()
	result, ok := runScript(t, script, object).(map[string]any)
	if !ok {
		t.Fatal("the script returns a list")
	}
	word, _ := result["status"].(string)
	message, _ := result["message"].(string)
	return health{word, message}
}

func healthTestsOf(kind string) string {
	return filepath.Join(customizations, kind, "health_test.yaml")
}

// TestHealthOfEveryState runs each health.lua on each state. Whether what it says is right is the next test's question.
func TestHealthOfEveryState(t *testing.T) {
	got := map[string]*healthTests{}
	for _, s := range states(t) {
		if got[s.kind] == nil {
			got[s.kind] = &healthTests{}
		}
		is := healthOf(t, read(t, filepath.Join(customizations, s.kind, "health.lua")), s.unstructured(t).Object)
		got[s.kind].Tests = append(got[s.kind].Tests, healthTest{is, "testdata/" + s.name + ".yaml"})
	}
	for _, kind := range kinds {
		if *update {
			content, err := yaml.Marshal(got[kind])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(healthTestsOf(kind), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := readYAML[*healthTests](t, healthTestsOf(kind))
		for i, test := range got[kind].Tests {
			if i >= len(want.Tests) || want.Tests[i] != test {
				t.Fatalf("%s says\n%+v, and so does not health_test.yaml: run 'go test ./test/gitops -update', and read what changes", kind, test)
			}
		}
		if len(want.Tests) != len(got[kind].Tests) {
			t.Errorf("health_test.yaml of %s has %d tests for %d states", kind, len(want.Tests), len(got[kind].Tests))
		}
	}
}

// argoWord is the health that stands for a kstatus.
var argoWord = map[status.Status]string{
	status.CurrentStatus: "Healthy", status.InProgressStatus: "Progressing", status.FailedStatus: "Degraded", status.TerminatingStatus: "Progressing",
}

// TestArgoCDAndFluxSayTheSame of every state but those that a user has asked for, which docs/gitops.md names; and Argo CD shows
// the message of the condition that says why.
func TestArgoCDAndFluxSayTheSame(t *testing.T) {
	askedFor := map[string]string{
		"disabled": "Suspended", "disabled-by-audit": "Suspended", "revoked": "Healthy", "revoked-and-by-audit": "Healthy",
	}
	for _, s := range states(t) {
		is := healthOf(t, read(t, filepath.Join(customizations, s.kind, "health.lua")), s.unstructured(t).Object)
		want := argoWord[s.kstatus]
		if other, ok := askedFor[s.name]; ok {
			want = other
		}
		if is.Status != want {
			t.Errorf("%s %s: Argo CD says %q, Flux %s", s.kind, s.name, is.Status, s.kstatus)
		}
		if slices.Contains([]string{"unseen", "older-generation", "being-deleted"}, s.name) {
			continue // none of its conditions says why
		}
		for _, kind := range []string{v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition, v1alpha1.ReadyCondition} {
			if condition := apimeta.FindStatusCondition(s.conditions, kind); condition != nil {
				if !strings.HasPrefix(is.Message, condition.Message) {
					t.Errorf("%s %s: Argo CD says %q, the condition %s %q", s.kind, s.name, is.Message, kind, condition.Message)
				}
				break
			}
		}
	}
}

// TestHealthWithoutStatus: objects that were made before the API had a default for it, and conditions of no operator.
func TestHealthWithoutStatus(t *testing.T) {
	for name, object := range map[string]map[string]any{
		"no status":     {"metadata": map[string]any{"generation": int64(1)}},
		"no conditions": {"metadata": map[string]any{"generation": int64(1)}, "status": map[string]any{"observedGeneration": int64(1)}},
		"no Ready": {"metadata": map[string]any{"generation": int64(1)}, "status": map[string]any{
			"observedGeneration": int64(1), "conditions": []any{},
		}},
	} {
		for _, kind := range kinds {
			got := healthOf(t, read(t, filepath.Join(customizations, kind, "health.lua")), object)
			if got.Status != "Progressing" || got.Message == "" {
				t.Errorf("%s %s: %+v", kind, name, got)
			}
		}
	}
}

// TestOneTextForAllKinds: what is the same is kept the same.
func TestOneTextForAllKinds(t *testing.T) {
	for file, of := range map[string][]string{
		"health.lua":                    kinds,
		"actions/rotate/action.lua":     {v1alpha1.APIKeyKind, v1alpha1.ChatbotKind},
		"actions/compromise/action.lua": {v1alpha1.APIKeyKind, v1alpha1.ChatbotKind},
	} {
		first := read(t, filepath.Join(customizations, of[0], file))
		for _, kind := range of[1:] {
			if read(t, filepath.Join(customizations, kind, file)) != first {
				t.Errorf("%s of %s is not that of %s", file, kind, of[0])
			}
		}
	}
}
