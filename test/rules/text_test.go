// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"regexp"
	"strings"
	"testing"
)

// hidden matches the characters that free text must not have: by class those that control, format or separate, except the two joiners
// that Persian and emoji need, and in addition the letters and marks that are blank.
const hidden = `[\p{Cc}\p{Zl}\p{Zp}\x{034F}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}]|[^\P{Cf}\x{200C}\x{200D}]`

// TestFreeText_HasOneRule: whatever text of ours people write for people is shown in terminals, pages and conditions.
func TestFreeText_HasOneRule(t *testing.T) {
	for _, field := range [][]string{
		{"dgbotapikeys", "spec", "label"}, {"dgbotchatbots", "spec", "displayName"},
		{"dgbotenvironments", "spec", "audit", "exemptions", "[]", "reason"},
	} {
		found := 0
		for _, r := range schemaOf(t, field[0], field[1:]...).rules() {
			if strings.HasSuffix(r.expression, "|| !self.matches(r'"+hidden+"')") {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%v: %d rules against hidden characters, want 1", field, found)
		}
	}
	expression := regexp.MustCompile(hidden)
	for text, want := range map[string]bool{
		"\u200f": true, "\u061c": true, "\u200b": true, "\u202e": true, "\u2066": true, "\u2060": true, "\u00ad": true, "\ufeff": true,
		"\U000e0061": true, "\u2028": true, "\x1b": true, "\u3164": true, "\u034f": true,
		"\u200c": false, "\u200d": false, "\ufe0f": false, "é": false, "שרת": false, "👩": false,
	} {
		if got := expression.MatchString("a" + text + "b"); got != want {
			t.Errorf("%q: rejected %t, want %t", text, got, want)
		}
	}
}
