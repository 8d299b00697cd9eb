// SPDX-License-Identifier: Apache-2.0

package display

import (
	"bytes"
	"testing"
)

func TestStatusLine_StaysOneHarmlessLine(t *testing.T) {
	var out bytes.Buffer
	line := &StatusLine{out: &out, width: 10}
	line.Show("%s", "a\x1b[2J\nb")
	line.Show("%s", "0123456789")
	line.Clear()
	line.Clear()
	if want := "\r\x1b[Ka\ufffd[2J b\r\x1b[K01234567…\r\x1b[K"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestStatusLine_ShowsNothingOnAStreamThatIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	line := NewStatusLine(&out)
	line.Show("progress")
	line.Clear()
	if out.Len() > 0 || line.IsShown() {
		t.Errorf("%q", out.String())
	}
}
