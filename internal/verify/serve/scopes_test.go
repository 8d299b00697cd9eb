// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"slices"
	"strings"
	"testing"
)

func TestGrants(t *testing.T) {
	for _, tc := range []struct {
		granted, scope string
		want           bool
	}{
		{"", "a", false}, {"a", "a", true}, {"a", "a.b", false}, {"a.b", "a", false}, {"*", "a.b", true}, {"a.*", "a.b", true},
		{"a.*", "a.b.c", true}, {"a.*", "a", false}, {"a.*", "a.", false}, {"a.*", "ab.c", false}, {"x a.* y", "a.b", true},
		{"a b", "a b", false}, {"*", "", false}, {"", "", false}, {"", " ", false}, {"a  b", "", false},
		{"conversations.*", "conversations.", false}, {".*", ".x", false}, {"ab*", "abc", false}, {"a.b.*", "a.b", false}, {"a.b.*", "a.c", false},
	} {
		if got := grants(tc.granted, tc.scope); got != tc.want {
			t.Errorf("%q grants %q: %t, want %t", tc.granted, tc.scope, got, tc.want)
		}
	}
}

func TestSplitScopes(t *testing.T) {
	for _, tc := range []struct {
		lists []string
		want  []string
		ok    bool
	}{
		{nil, nil, true}, {[]string{""}, nil, true}, {[]string{"a.b"}, []string{"a.b"}, true}, {[]string{"a b", "c,d"}, []string{"a", "b", "c", "d"}, true},
		{[]string{" a ,, b "}, []string{"a", "b"}, true}, {[]string{"*"}, nil, false}, {[]string{"a.*"}, nil, false}, {[]string{"A"}, nil, false},
		{[]string{"a\tb"}, nil, false}, {[]string{strings.Repeat("a", 65)}, nil, false}, {[]string{"ä"}, nil, false},
		{[]string{"a", "*"}, nil, false},
	} {
		got, ok := splitScopes(tc.lists)
		if !slices.Equal(got, tc.want) || ok != tc.ok {
			t.Errorf("%q: %q %t, want %q %t", tc.lists, got, ok, tc.want, tc.ok)
		}
	}
}
