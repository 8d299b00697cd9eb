// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"path/filepath"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"dgbot.io/key-operator/api/v1alpha1"
)

// healthExpressions are healthCheckExprs of a Flux Kustomization.
type healthExpressions struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

// evaluate does what Flux does with them: an older generation is in progress, and of the expressions the first that is true counts.
func (e *healthExpressions) evaluate(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	observed, _, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	if err != nil {
		t.Fatal(err)
	}
	if observed != object.GetGeneration() {
		return status.InProgressStatus
	}
	env, err := cel.NewEnv(cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), ext.Strings(), ext.Sets(), ext.Encoders())
	if err != nil {
		t.Fatal(err)
	}
	for _, expression := range []struct {
		text string
		is   status.Status
	}{{e.InProgress, status.InProgressStatus}, {e.Failed, status.FailedStatus}, {e.Current, status.CurrentStatus}} {
		parsed, issues := env.Parse(expression.text)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := env.Program(parsed)
		if err != nil {
			t.Fatal(err)
		}
		result, _, err := program.Eval(object.Object)
		if err != nil {
			t.Fatalf("%s: %v", expression.text, err)
		}
		if result.Value() == true {
			return expression.is
		}
	}
	return status.InProgressStatus
}

// TestTheExpressionsForFluxAreKstatusButForWhatGitAsksFor: those of the sample Kustomization.
func TestTheExpressionsForFluxAreKstatusButForWhatGitAsksFor(t *testing.T) {
	kustomization := readYAML[struct {
		Spec struct {
			HealthCheckExprs []healthExpressions `json:"healthCheckExprs"`
		} `json:"spec"`
	}](t, filepath.Join(layout, "flux", "kustomization.yaml"))
	if n := len(kustomization.Spec.HealthCheckExprs); n != 1 {
		t.Fatalf("%d kinds have expressions", n)
	}
	expressions := kustomization.Spec.HealthCheckExprs[0]
	if expressions.APIVersion != v1alpha1.GroupVersion.String() || expressions.Kind != v1alpha1.APIKeyKind {
		t.Fatalf("expressions for %s %s", expressions.APIVersion, expressions.Kind)
	}
	askedFor := map[string]bool{"disabled": true, "revoked": true, "revoked-and-by-audit": true}
	for _, s := range states(t) {
		if s.kind != v1alpha1.APIKeyKind || s.kstatus == status.TerminatingStatus {
			continue // Flux waits for no object that is being deleted
		}
		want := s.kstatus
		if askedFor[s.name] {
			want = status.CurrentStatus
		}
		if got := expressions.evaluate(t, s.unstructured(t)); got != want {
			t.Errorf("%s is %s, want %s", s.name, got, want)
		}
	}
}
