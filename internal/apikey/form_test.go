// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"regexp"
	"strings"
	"testing"
)

// The form is what Parse accepts, whatever the checksum: with the right checksum for the body, one says yes where the
// other does.
func TestTheFormIsWhatParseAccepts(t *testing.T) {
	form := regexp.MustCompile(`\A(?:` + Form + `)\z`)
	v := readVectors(t)
	texts := []string{}
	for _, vector := range v.Valid {
		texts = append(texts, vector.Text)
	}
	for _, vector := range v.Invalid {
		texts = append(texts, vector.Text)
	}
	for _, environment := range []string{"a", "production", "dgbot", "x-dgbot", strings.Repeat("e", 32)} {
		key, err := Mint(environment)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, key.Reveal())
	}
	accepted, tried := 0, 0
	for _, text := range texts {
		for _, changed := range mutations(text) {
			whole := changed
			if len(changed) > checksumLength {
				body := changed[:len(changed)-checksumLength]
				digits := checksum(body)
				whole = body + string(digits[:])
			}
			_, err := Parse(whole)
			if got, want := form.MatchString(whole), err == nil; got != want {
				t.Errorf("%q: the form says %v, Parse %v", whole, got, want)
			}
			tried++
			if err == nil {
				accepted++
			}
		}
	}
	if accepted < 1000 || tried-accepted < 1000 {
		t.Fatalf("of %d texts %d were keys: this compares nothing", tried, accepted)
	}
}

// mutations are the text itself and, at each position, one character replaced, removed or added.
func mutations(text string) []string {
	all := []string{text}
	for i := range len(text) {
		all = append(all, text[:i]+text[i+1:])
		for _, c := range []string{"0", "z", "Z", "_", "-", " "} {
			all = append(all, text[:i]+c+text[i+1:], text[:i]+c+text[i:])
		}
	}
	return all
}

func TestKeysAreFoundInTexts(t *testing.T) {
	inText := regexp.MustCompile(InText)
	key, err := Mint("production")
	if err != nil {
		t.Fatal(err)
	}
	text := key.Reveal()
	for said, want := range map[string]int{
		text:                           1,
		"a line\\n" + text + `\n`:      1,
		"?token%3D" + text + "&x=1":    1,
		text + text:                    1, // of the first the second is a continuation
		text + "\n" + text:             2,
		text + "_":                     1,
		text + "x":                     0,
		key.Masked():                   0,
		text[:len(text)-1]:             0,
		strings.ToUpper(text):          0,
		"dgbot-production-" + text[6:]: 0,
	} {
		found := inText.FindAllStringSubmatch(said, -1)
		if len(found) != want {
			t.Errorf("%q: found %d keys, want %d", strings.ReplaceAll(said, text, "KEY"), len(found), want)
		}
		for _, match := range found {
			if match[1] != text {
				t.Errorf("found something else than the key in %q", strings.ReplaceAll(said, text, "KEY"))
			}
		}
	}
}
