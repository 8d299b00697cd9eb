// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv/scenario"
)

// TestTurn_ShowsNothingBeforeItBegins, then what it has kept, then everything at once.
func TestTurn_ShowsNothingBeforeItBegins(t *testing.T) {
	var shown bytes.Buffer
	own := &turn{out: &shown}
	write := func(text, want string) {
		t.Helper()
		if _, err := io.WriteString(own, text); err != nil || shown.String() != want {
			t.Errorf("after %q %q is shown (%v), want %q", text, shown.String(), err, want)
		}
	}
	write("one ", "")
	write("two ", "")
	own.begin()
	if shown.String() != "one two " {
		t.Errorf("%q is shown when it begins", shown.String())
	}
	write("three", "one two three")
}

func TestChoose_TakesNamesAndNumbers(t *testing.T) {
	all := []scenario.Script{{Name: "issue", Number: 1}, {Name: "leak", Number: 7}, {Name: "refused", Number: 13}, {Name: "restore"}}
	for names, want := range map[string]string{
		"": "issue leak refused", "leak": "leak", "7,1": "issue leak", "07": "leak", "13, restore": "refused restore", " issue ,": "issue",
	} {
		chosen, err := choose(all, names)
		var got []string
		for _, script := range chosen {
			got = append(got, script.Name)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: chosen %q (%v), want %q", names, got, err, want)
		}
	}
	for _, names := range []string{"none", "leak,none", "0", "3"} {
		if _, err := choose(all, names); err == nil {
			t.Errorf("%q: no error", names)
		}
	}
}
