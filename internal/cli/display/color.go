// SPDX-License-Identifier: Apache-2.0

package display

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Tone is how a cell wants to be looked at. On a terminal it is a color; the text of the cell says the same without it.
type Tone int

// Tones of cells.
const (
	Neutral Tone = iota
	Good
	Faint
	Warning
	Bad
)

// codes are the colors of terminals for tones: of the sixteen that each terminal's own scheme makes readable, light or dark.
var codes = map[Tone]string{Good: "\x1b[32m", Faint: "\x1b[2m", Warning: "\x1b[33m", Bad: "\x1b[31m"}

const noCode = "\x1b[0m"

// HasColor reports whether a stream shows color: it is a terminal, and the user did not refuse it (https://no-color.org).
func HasColor(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// writeColored writes a table that has been laid out, with the cells of some columns in color. It takes the color around NewWriter, which
// lets no text color a terminal, and makes each part harmless itself.
func writeColored(out harmless, table []byte, rows [][]string, tones [][]Tone) error {
	starts := make([]int, len(rows[0]))
	for column := 1; column < len(starts); column++ {
		widest := 0
		for _, row := range rows {
			widest = max(widest, utf8.RuneCountInString(row[column-1]))
		}
		starts[column] = starts[column-1] + widest + columnGap
	}
	var colored bytes.Buffer
	number := 0
	for line := range strings.Lines(string(table)) {
		letters, written := []rune(line), 0
		for column, tone := range tones[number] {
			from, to := starts[column], starts[column]+utf8.RuneCountInString(rows[number][column])
			if codes[tone] == "" || to > len(letters) || from == to {
				continue
			}
			colored.WriteString(clean(string(letters[written:from])) + codes[tone] + clean(string(letters[from:to])) + noCode)
			written = to
		}
		colored.WriteString(clean(string(letters[written:])))
		number++
	}
	_, err := colored.WriteTo(out.out)
	return err
}
