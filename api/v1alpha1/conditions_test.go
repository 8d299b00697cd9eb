// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared returns the values of the constants of conditions.go whose names have a suffix.
func declared(t *testing.T, suffix string) (values []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasSuffix(spec.Names[0].Name, suffix) || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

// checkListed compares a list with the constants of that suffix, those aside that do not belong in it.
func checkListed(t *testing.T, suffix string, listed []string, others ...string) {
	t.Helper()
	constants := declared(t, suffix)
	for _, constant := range constants {
		if slices.Contains(listed, constant) == slices.Contains(others, constant) {
			t.Errorf("%s%s has to be either abnormal or one of %q", constant, suffix, others)
		}
	}
	if all := len(listed) + len(others); all != len(constants) {
		t.Errorf("%d are listed, and %d constants end in %s", all, len(constants), suffix)
	}
}

// TestAbnormal_CoversEveryConditionAndReason: a reason that is missing from the list has the label Other in metrics, so that an alert for it
// never fires.
func TestAbnormal_CoversEveryConditionAndReason(t *testing.T) {
	checkListed(t, "Condition", AbnormalConditions[:], ReadyCondition, SelectsNothingCondition)
	checkListed(t, "Reason", AbnormalReasons[:],
		IssuedReason, PublishedReason, // Ready is True
		EnforcedReason, TimeZoneUnknownReason, NoNamespaceReason, // of a DGbotEnvironment
		RequestPendingReason, SecretLostReason, SecretAlteredReason, RecordLostReason, // events
	)
}
