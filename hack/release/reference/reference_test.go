// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"strings"
	"testing"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParse(t *testing.T) {
	for text, want := range map[string]Image{
		"registry.example/keys/operator:1.2.3":               {"registry.example/keys/operator", "1.2.3", ""},
		"registry.example:5000/operator:v1":                  {"registry.example:5000/operator", "v1", ""},
		"localhost:5000/operator@" + digest:                  {"localhost:5000/operator", "", digest},
		"registry.example/keys/operator:1.2.3@" + digest:     {"registry.example/keys/operator", "1.2.3", digest},
		"registry.example/Keys/operator:1.2.3":               {},
		"registry.example/keys/operator":                     {},
		"registry.example:5000/operator":                     {},
		"operator:1.2.3":                                     {},
		"registry.example/keys/operator:":                    {},
		"registry.example/keys/operator:1 2":                 {},
		"registry.example/keys/operator@sha256:0123":         {},
		"registry.example/keys/operator:1.2.3@sha256:0123":   {},
		"registry.example/keys/operator: 1.2.3@" + digest:    {},
		"https://registry.example/keys/operator:1.2.3":       {},
		"registry.example/keys/operator:1.2.3\nimage: other": {},
	} {
		got, err := Parse(text)
		if got != want || (err != nil) != (want == Image{}) {
			t.Errorf("%q is %+v, %v, want %+v", text, got, err, want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "IMAGE is ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Parse(""); err == nil || !strings.Contains(err.Error(), "IMAGE is not set") {
		t.Error(err)
	}
}
