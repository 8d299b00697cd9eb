// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// hidden matches the characters that free text must not have: by class those that control, format or separate, and in addition those
// that Unicode calls default ignorable, and the letters and signs that are blank. RE2 has no name for these classes, so they are ranges;
// those that Unicode has not assigned yet are among them. The two joiners that Persian and emoji need are accepted, and so are U+FE0E and
// U+FE0F, by which a character is shown as text or as an emoji.
const hidden = `[\p{Cc}\p{Zl}\p{Zp}\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2065}\x{2800}\x{3164}\x{FE00}-\x{FE0D}\x{FFA0}\x{FFF0}-\x{FFF8}\x{1D159}\x{E0000}-\x{E0FFF}]|[^\P{Cf}\x{200C}\x{200D}]`

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
	for r := rune(0); r <= unicode.MaxRune; r++ {
		isJoiner, isPresentation := r == 0x200c || r == 0x200d, r == 0xfe0e || r == 0xfe0f
		isIgnorable := unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
		if got := expression.MatchString(string(r)); isIgnorable && got == (isJoiner || isPresentation) {
			t.Errorf("%U: rejected %t, want %t", r, got, !got)
		}
	}
	for text, want := range map[string]bool{
		"\u200f": true, "\u061c": true, "\u200b": true, "\u202e": true, "\u2066": true, "\u2060": true, "\u00ad": true, "\ufeff": true,
		"\U000e0061": true, "\U000e0100": true, "\U000e0002": true, "\ufe00": true, "\u2065": true, "\U0001d159": true, "\u2028": true, "\x1b": true, "\u3164": true, "\u034f": true,
		"\u200c": false, "\u200d": false, "\ufe0f": false, "\ufe0e": false, "é": false, "e\u0301": false, "Ｋ": false, "K": false, "שרת": false, "👩": false,
	} {
		if got := expression.MatchString("a" + text + "b"); got != want {
			t.Errorf("%q: rejected %t, want %t", text, got, want)
		}
	}
}
