// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"dgbot.io/key-operator/internal/apikey"
)

// harmless passes text on. It replaces characters that would move the cursor, colour the terminal, or turn the direction of writing:
// users other than the reader write labels, messages and names of files. It masks keys, which a user may have pasted in place of a name.
type harmless struct{ out io.Writer }

func (h harmless) Write(text []byte) (int, error) {
	if _, err := io.WriteString(h.out, apikey.Redact(strings.Map(visible, string(text)))); err != nil {
		return 0, err
	}
	return len(text), nil
}

func visible(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return r
	case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == utf8.RuneError:
		return utf8.RuneError
	}
	return r
}

var lineBreaks = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ")

// oneLine keeps a text in its cell or line.
func oneLine(text string) string { return lineBreaks.Replace(text) }

// noFormula keeps a spreadsheet from taking a text for a formula, as it would for what begins like one.
func noFormula(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
