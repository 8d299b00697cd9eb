// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestScopeCovers(t *testing.T) {
	for _, tc := range []struct {
		pattern, scope v1alpha1.Scope
		want           bool
	}{
		{"a", "a", true}, {"a", "a.b", false}, {"a.b", "a", false}, {"", "", false}, {"", "a", false}, {"*", "", false},
		{"*", "a.b", true}, {"*", "*", true}, {"*", "a.*", true}, {"a.*", "a.b", true}, {"a.*", "a.b.c", true}, {"a.*", "a.*", true},
		{"a.*", "a.b.*", true}, {"a.*", "a", false}, {"a.*", "*", false}, {"a.*", "ab.c", false}, {"a.b.*", "a.*", false}, {"a", "*", false},
		// The inputs of issue 20 and the rest of their kind: an empty segment.
		{"conversations.*", "conversations.", false}, {".*", ".x", false}, {".*", ".*", true}, {".*", "x", false}, {"a.*", "a..", true},
		// A pattern that the API server rejects covers nothing but itself.
		{"ab*", "abc", false}, {"a*", "a.b", false}, {"**", "a", false}, {"a.*.b", "a.x.b", false}, {"a.**", "a.*x", false},
	} {
		if got := tc.pattern.Covers(tc.scope); got != tc.want {
			t.Errorf("%q covers %q: %t, want %t", tc.pattern, tc.scope, got, tc.want)
		}
	}
}

// TestScopeIsValid has the texts that the rule of the CRD admits and rejects.
func TestScopeIsValid(t *testing.T) {
	for scope, want := range map[v1alpha1.Scope]bool{
		"*": true, "a": true, "a.b": true, "a.*": true, "a..*": true, "..*": true, "a:b_c-1.*": true, ".": true,
		"": false, ".*": false, "a*": false, "**": false, "*.a": false, "a.*.b": false, "A": false, "a b": false, "a.b *": false, "a\n": false, "é": false,
		v1alpha1.Scope(strings.Repeat("a", v1alpha1.MaxScopeLength)):          true,
		v1alpha1.Scope(strings.Repeat("a", v1alpha1.MaxScopeLength+1)):        false,
		v1alpha1.Scope(strings.Repeat("a", v1alpha1.MaxScopeLength-1)) + ".*": false,
	} {
		if got := scope.IsValid(); got != want {
			t.Errorf("%q is valid: %t, want %t", scope, got, want)
		}
	}
}

// covers is a naive model of Scope.Covers. It writes out what a pattern stands for.
func covers(pattern, scope string) bool {
	if pattern == "*" || pattern == scope {
		return scope != ""
	}
	name := strings.TrimSuffix(pattern, ".*")
	if name == pattern || name == "" {
		return false
	}
	return strings.HasPrefix(scope, name+".") && scope != name+"."
}

// FuzzScopeCovers compares with the model, and checks that what one scope covers never exceeds what the covering one does.
func FuzzScopeCovers(f *testing.F) {
	texts := []string{"", "*", ".*", "a", "a.", "a.*", "a..*", "a.b", "a.b.*", "ab.c", ".x", "conversations.", "conversations.*", "a*", "\xff.*"}
	for i, text := range texts {
		f.Add(text, texts[(i+1)%len(texts)], texts[(i+5)%len(texts)])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		for _, pair := range [][2]string{{a, b}, {b, c}, {a, c}, {a + ".*", a + "." + b}, {a, a}} {
			if got, want := v1alpha1.Scope(pair[0]).Covers(v1alpha1.Scope(pair[1])), covers(pair[0], pair[1]); got != want {
				t.Errorf("%q covers %q: %t, the model says %t", pair[0], pair[1], got, want)
			}
		}
		x, y, z := v1alpha1.Scope(a), v1alpha1.Scope(b), v1alpha1.Scope(c)
		if x.Covers(y) && y.Covers(z) && !x.Covers(z) {
			t.Errorf("%q covers %q, which covers %q, and does not cover that", a, b, c)
		}
	})
}

func TestScopeCovers_AllocatesNothing(t *testing.T) {
	pattern, scope := v1alpha1.Scope("conversations.*"), v1alpha1.Scope("conversations.read")
	if n := testing.AllocsPerRun(100, func() { _ = pattern.Covers(scope) }); n != 0 {
		t.Errorf("%f allocations", n)
	}
}
