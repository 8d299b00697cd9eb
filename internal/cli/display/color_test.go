// SPDX-License-Identifier: Apache-2.0

package display

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

type toned struct {
	name, state string
	tone        Tone
}

var tonedColumns = []Column[toned]{
	{Heading: "STATE", Cell: func(r *toned, _ time.Time) string { return r.state }, Tone: func(r *toned) Tone { return r.tone }},
	{Heading: "NAME", Cell: func(r *toned, _ time.Time) string { return r.name }},
	{Heading: "AGAIN", Cell: func(r *toned, _ time.Time) string { return r.state }, Tone: func(r *toned) Tone { return r.tone }},
}

// TestPrintTable_ColorsNothingButToneCells: without its codes, a table in color is the table without color, also with letters of several
// bytes and with text that tries to act.
func TestPrintTable_ColorsNothingButToneCells(t *testing.T) {
	rows := []toned{
		{"web", "Ready", Good},
		{"büro-größe", "Überzogen", Bad},
		{"evil\x1b[31m\x1b]0;title\x07", "Red\x1b[0m\u202edy", Warning},
		{"dgbot_production_7Hq2xV0aBcD9_4fXc9kQ2mW7pLrT8vYbN3sJ6hG5dZ1aK", "", Bad},
		{"plain", "New", Neutral},
	}
	var colored, plain bytes.Buffer
	for _, out := range []harmless{{&colored, true}, {&plain, false}} {
		if err := PrintTable(out, "", tonedColumns, rows, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if got := regexp.MustCompile("\x1b\\[(2|3[123]|0)m").ReplaceAllString(colored.String(), ""); got != plain.String() {
		t.Errorf("without its colors the table is\n%s\nwant\n%s", got, plain.String())
	}
	for _, want := range []string{"\x1b[32mReady\x1b[0m   ", "\x1b[31mÜberzogen\x1b[0m   ", "   \x1b[32mReady\x1b[0m"} {
		if !strings.Contains(colored.String(), want) {
			t.Errorf("%q is not in\n%q", want, colored.String())
		}
	}
	if got, want := strings.Count(colored.String(), "\x1b"), 2*2*3; got != want {
		t.Errorf("%d codes, want %d: for two cells of three rows\n%q", got, want, colored.String())
	}
}

// TestNewWriter_HasNoColorForPrograms: output to a file or a pipe has no codes.
func TestNewWriter_HasNoColorForPrograms(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if HasColor(file) || HasColor(&bytes.Buffer{}) {
		t.Error("a file or a buffer is taken for a terminal")
	}
}
