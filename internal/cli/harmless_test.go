// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestPrintKeys_KeepsHostileTextFromActing in a terminal, in a table and in a spreadsheet.
func TestPrintKeys_KeepsHostileTextFromActing(t *testing.T) {
	const nasty = "=cmd()\x1b[2J\r\nsecond\tline\u202eevil\u009bx\x00"
	key := healthy("web")
	key.Spec.Label = nasty
	keys := []v1alpha1.DGbotAPIKey{*key}
	for _, output := range []string{"table", "csv"} {
		var out bytes.Buffer
		if err := printKeys(newWriter(&out), output, keys, now); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.ContainsAny(text, "\x1b\r\x00\u202e\u009b") {
			t.Errorf("%s: %q", output, text)
		}
		if output == "table" && strings.Count(text, "\n") != 2 {
			t.Errorf("the table has other lines than the heading and one for the key: %q", text)
		}
		if output == "csv" && !strings.Contains(text, "'=cmd()") {
			t.Errorf("a formula in %q", text)
		}
	}
}

// TestDescription_KeepsHostileTextFromActing in a terminal.
func TestDescription_KeepsHostileTextFromActing(t *testing.T) {
	key := healthy("web")
	key.Spec.Label = "=cmd()\x1b[2J\r\nsecond\tline\u202eevil\u009bx\x00"
	var out bytes.Buffer
	d := &description{Key: key, now: now}
	if err := d.print(newWriter(&out)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r\x00") || strings.Contains(out.String(), "\nsecond") {
		t.Errorf("%q", out.String())
	}
}

// TestPrintKeys_KeepsEveryLetterInCSV in a list that is longer than a buffer.
func TestPrintKeys_KeepsEveryLetterInCSV(t *testing.T) {
	var keys []v1alpha1.DGbotAPIKey
	for i := range 500 {
		key := healthy("web")
		key.Spec.Label = strings.Repeat("x", i%2) + strings.Repeat("ü", 50)
		keys = append(keys, *key)
	}
	var out bytes.Buffer
	if err := printKeys(newWriter(&out), "csv", keys, now); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\ufffd"); n > 0 || strings.Count(out.String(), "ü") < 500*50 {
		t.Errorf("%d letters were lost", n)
	}
}
