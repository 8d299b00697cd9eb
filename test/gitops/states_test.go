// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t} }

func lasts(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// state is one that an object can be in. The object's status is the policy's own: nothing is written by hand.
type state struct {
	name       string
	kind       string
	object     client.Object
	conditions []metav1.Condition
	// kstatus is what Flux with `wait: true` makes of it: it goes on at Current, waits at InProgress, and gives up at Failed.
	kstatus status.Status
}

func (s *state) unstructured(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	s.object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(s.kind))
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s.object)
	if err != nil {
		t.Fatal(err)
	}
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: content}
}

// states are all of them, of all kinds.
func states(t *testing.T) []state {
	t.Helper()
	return slices.Concat(keyStates(t), chatbotStates(), environmentStates())
}

// eventsOnly are the reasons that no condition has.
var eventsOnly = []string{v1alpha1.SecretLostReason, v1alpha1.SecretAlteredReason, v1alpha1.RecordLostReason, v1alpha1.RequestPendingReason}

// TestNoStateIsMissed: every reason that the API has stands in a condition of one of the states.
func TestNoStateIsMissed(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range states(t) {
		for _, condition := range s.conditions {
			seen[condition.Reason] = true
		}
	}
	all := reasons(t)
	for _, reason := range all {
		if !seen[reason] && !slices.Contains(eventsOnly, reason) {
			t.Errorf("no state has the reason %s: say in keyStates, chatbotStates or environmentStates how an object comes to it", reason)
		}
		if seen[reason] && slices.Contains(eventsOnly, reason) {
			t.Errorf("%s is no condition's reason, and stands in one", reason)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(seen)) {
		if !slices.Contains(all, reason) {
			t.Errorf("the reason %s is not in api/v1alpha1/conditions.go", reason)
		}
	}
}

// reasons are the constants of api/v1alpha1/conditions.go whose names end in Reason.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(controlplane.Repository(), "api", "v1alpha1", "conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasSuffix(spec.Names[0].Name, "Reason") {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			if reason, err := strconv.Unquote(literal.Value); err == nil {
				found = append(found, reason)
			}
		}
		return true
	})
	if len(found) < 30 {
		t.Fatalf("only %d reasons found", len(found))
	}
	return found
}

// TestKstatusOfEveryState: what Flux makes of an object with `wait: true`.
func TestKstatusOfEveryState(t *testing.T) {
	for _, s := range states(t) {
		result, err := status.Compute(s.unstructured(t))
		if err != nil {
			t.Fatal(err)
		}
		if result.Status != s.kstatus {
			t.Errorf("%s %s is %s (%s), want %s", s.kind, s.name, result.Status, result.Message, s.kstatus)
		}
	}
}
