// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

var fixedPort = regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):[1-9][0-9]{3,}`)

// TestSuites_ListenOnFreePorts: suites run at the same time. testenv.FreeAddress reserves an address for one of them.
func TestSuites_ListenOnFreePorts(t *testing.T) {
	// It replaces the port in the commands of a page by one of its own.
	const replaces = "test/verifier/protected_api_test.go"
	for path, file := range sources(t) {
		if !strings.HasPrefix(path, "test/") && !strings.HasPrefix(path, "internal/testenv/") || path == replaces {
			continue
		}
		ast.Inspect(file.syntax, func(node ast.Node) bool {
			if text, ok := node.(*ast.BasicLit); ok && text.Kind == token.STRING && fixedPort.MatchString(text.Value) {
				t.Errorf("%s has the fixed port of %s: use testenv.FreeAddress", file.set.Position(text.Pos()), text.Value)
			}
			return true
		})
	}
}
