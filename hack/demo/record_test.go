// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestRecorder_DrawsEachLineOnce: the picture is well-formed, has the lines in their order, and nothing of what colors a terminal.
func TestRecorder_DrawsEachLineOnce(t *testing.T) {
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	var shown bytes.Buffer
	r := &recorder{out: &shown, now: func() time.Time { now = now.Add(time.Second); return now }}
	text := "\x1b[1m── 1  A key\x1b[0m\n\x1b[36m   $ kubectl get dgkey -o jsonpath='{.a<b && c}'\x1b[0m\n" + strings.Repeat("ü", 2*columns) + "\n"
	for _, part := range []string{text[:7], text[7:60], text[60:]} {
		if _, err := io.WriteString(r, part); err != nil {
			t.Fatal(err)
		}
	}
	if shown.String() != text {
		t.Errorf("shown is %q, want %q", shown.String(), text)
	}
	var lines []string
	decoder := xml.NewDecoder(bytes.NewReader(r.picture()))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, is := token.(xml.StartElement); is && start.Name.Local == "text" {
			var line string
			if err := decoder.DecodeElement(&line, &start); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
	}
	want := []string{"── 1  A key", "   $ kubectl get dgkey -o jsonpath='{.a<b && c}'", strings.Repeat("ü", columns-1) + "…"}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("the picture has the lines\n%q\nwant\n%q", lines, want)
	}
	if got, want := r.duration(), 2*time.Second+lastPause; got != want {
		t.Errorf("it lasts %s, want %s", got, want)
	}
}
