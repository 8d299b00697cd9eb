// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// TestScopes_HaveOneRule: only api/v1alpha1/scope.go takes patterns of scopes apart. A second implementation once accepted
// at the verifier what the operator would not allow, and the other way round.
func TestScopes_HaveOneRule(t *testing.T) {
	const home = "api/v1alpha1/scope.go"
	files := sources(t)
	if _, ok := files[home]; !ok {
		t.Fatalf("%s is gone", home)
	}
	for path, file := range files {
		if path == home || strings.HasSuffix(path, "_test.go") {
			continue
		}
		ast.Inspect(file.syntax, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
				if name, ok := selector.X.(*ast.Ident); ok && (name.Name == "strings" || name.Name == "bytes") && slices.ContainsFunc(call.Args, isPatternText) {
					t.Errorf("%s: %s.%s with a pattern of scopes: use Scope.Covers", file.set.Position(call.Pos()), name.Name, selector.Sel.Name)
				}
			}
			return true
		})
	}
}

// isPatternText reports whether an argument is "*" or ".*", as a text that code cuts off or looks for.
func isPatternText(argument ast.Expr) bool {
	return slices.ContainsFunc(text(argument), func(value string) bool { return value == "*" || value == ".*" })
}
