// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/api/equality"

	"dgbot.io/key-operator/api/v1alpha1"
)

// withActions are the kinds that have any.
var withActions = []string{v1alpha1.APIKeyKind, v1alpha1.ChatbotKind}

// actionAnnotations are what the actions set.
var actionAnnotations = map[string]string{
	"rotate": v1alpha1.RotateRequestedAtAnnotation, "compromise": v1alpha1.RevokeIssuedBeforeAnnotation,
}

// actionTests is an action_test.yaml.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string   `json:"inputPath"`
		Result    []action `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

// action is one that Argo CD shows.
type action struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

func actionsFolder(kind string) string { return filepath.Join(customizations, kind, "actions") }

// discover asks which actions are offered for an object, the first by name first.
func discover(t *testing.T, kind string, object map[string]any) []action {
	t.Helper()
	result, ok := runScript(t, read(t, filepath.Join(actionsFolder(kind), "discovery.lua")), object).(map[string]any)
	if !ok {
		t.Fatal("discovery.lua returns a list")
	}
	var found []action
	for _, name := range []string{"rotate", "compromise"} {
		properties, ok := result[name].(map[string]any)
		if !ok || len(result) != len(actionAnnotations) {
			t.Fatalf("discovery.lua returns %v", result)
		}
		found = append(found, action{name, properties["disabled"] == true})
	}
	return found
}

// act runs an action, and returns what Argo CD would apply: the object, and the merge patch that leads to it.
func act(t *testing.T, kind, name string, object map[string]any) (changed map[string]any, patch string) {
	t.Helper()
	changed, ok := runScript(t, read(t, filepath.Join(actionsFolder(kind), name, "action.lua")), object).(map[string]any)
	if !ok {
		t.Fatalf("%s returns a list", name)
	}
	before, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	after, err := json.Marshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	merge, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		t.Fatal(err)
	}
	return changed, string(merge)
}

// TestActionsAreOfferedWhereTheyMakeSense: what action_test.yaml says, of every state.
func TestActionsAreOfferedWhereTheyMakeSense(t *testing.T) {
	for _, kind := range withActions {
		expected := map[string][]action{}
		for _, test := range readYAML[actionTests](t, filepath.Join(actionsFolder(kind), "action_test.yaml")).DiscoveryTests {
			expected[test.InputPath] = test.Result
		}
		for _, s := range states(t) {
			if s.kind != kind {
				continue
			}
			input := "../testdata/" + s.name + ".yaml"
			if got := discover(t, kind, s.unstructured(t).Object); !slices.Equal(got, expected[input]) {
				t.Errorf("%s %s: %+v is offered, want %+v", kind, s.name, got, expected[input])
			}
			delete(expected, input)
		}
		for input := range expected {
			t.Errorf("%s: action_test.yaml has %s, which is no state", kind, input)
		}
	}
}

// TestActionsReturnWhatTheyAreToReturn runs the tests that Argo CD would run.
func TestActionsReturnWhatTheyAreToReturn(t *testing.T) {
	for _, kind := range withActions {
		tests := readYAML[actionTests](t, filepath.Join(actionsFolder(kind), "action_test.yaml")).ActionTests
		if len(tests) != len(actionAnnotations) {
			t.Errorf("%s: %d action tests", kind, len(tests))
		}
		for _, test := range tests {
			input := readYAML[map[string]any](t, filepath.Join(actionsFolder(kind), test.InputPath))
			want := readYAML[map[string]any](t, filepath.Join(actionsFolder(kind), test.ExpectedOutputPath))
			got, _ := act(t, kind, test.Action, input)
			setTime(t, got, actionAnnotations[test.Action], annotation(t, want, actionAnnotations[test.Action]))
			if !equality.Semantic.DeepEqual(got, want) {
				t.Errorf("%s %s: got\n%v, want\n%v", kind, test.Action, got, want)
			}
		}
	}
}

func annotation(t *testing.T, object map[string]any, name string) string {
	t.Helper()
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, ok := annotations[name].(string)
	if !ok {
		t.Fatalf("no annotation %s on %v", name, metadata)
	}
	return value
}

func setTime(t *testing.T, object map[string]any, name, value string) {
	t.Helper()
	annotation(t, object, name)
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	annotations[name] = value
}

// TestActionsChangeOneAnnotationAndNothingElse, in whatever state the object is: anything else would be drift.
func TestActionsChangeOneAnnotationAndNothingElse(t *testing.T) {
	ran := 0
	for _, s := range states(t) {
		if !slices.Contains(withActions, s.kind) {
			continue
		}
		for _, offered := range discover(t, s.kind, s.unstructured(t).Object) {
			if offered.Disabled {
				continue
			}
			ran++
			began := time.Now().UTC().Truncate(time.Second)
			changed, patch := act(t, s.kind, offered.Name, s.unstructured(t).Object)
			name := actionAnnotations[offered.Name]
			asked := annotation(t, changed, name)
			if want := `{"metadata":{"annotations":{"` + name + `":"` + asked + `"}}}`; patch != want {
				t.Errorf("%s of %s %s: Argo CD would apply %s, want %s", offered.Name, s.kind, s.name, patch, want)
			}
			at, err := time.Parse(time.RFC3339, asked)
			current, _ := changed["status"].(map[string]any)["current"].(map[string]any)
			if issued, _ := current["issuedAt"].(string); err != nil || asked != issued && (at.Before(began) || at.After(time.Now())) || asked < issued {
				t.Errorf("%s of %s %s asks for %s; it is %s, and the current revision is of %s", offered.Name, s.kind, s.name, asked, began, issued)
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d actions were run", ran)
	}
}

// TestActionsServeWhateverTheClockOfArgoCD: a time before the current revision would ask for nothing, because it is satisfied.
func TestActionsServeWhateverTheClockOfArgoCD(t *testing.T) {
	const ahead = "2999-01-01T00:00:00Z"
	for name, key := range actionAnnotations {
		object := map[string]any{
			"metadata": map[string]any{"name": "crm"}, "spec": map[string]any{},
			"status": map[string]any{"current": map[string]any{"issuedAt": ahead}},
		}
		changed, _ := act(t, v1alpha1.APIKeyKind, name, object)
		if asked := annotation(t, changed, key); asked != ahead {
			t.Errorf("%s asks for %s although the current revision is of %s", name, asked, ahead)
		}
	}
}
