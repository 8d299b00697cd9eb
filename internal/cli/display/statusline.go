// SPDX-License-Identifier: Apache-2.0

package display

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// StatusLine is a line at the bottom of a terminal that replaces itself, for progress. It shows nothing on a stream that is no terminal. A
// caller clears it before it writes anything else.
type StatusLine struct {
	out   io.Writer
	width int
	shown bool
}

// NewStatusLine returns a status line for a stream that is not wrapped by NewWriter.
func NewStatusLine(out io.Writer) *StatusLine {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &StatusLine{}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 1 {
		width = 80
	}
	return &StatusLine{out: out, width: width}
}

// IsShown reports whether the stream is a terminal.
func (l *StatusLine) IsShown() bool { return l.out != nil }

// Show replaces the line, cut to the width of the terminal: a longer line could not be replaced.
func (l *StatusLine) Show(format string, arguments ...any) {
	if l.out == nil {
		return
	}
	text := []rune(Plain(fmt.Sprintf(format, arguments...)))
	if len(text) >= l.width {
		text = append(text[:l.width-2], '…')
	}
	l.shown = true
	_, _ = fmt.Fprintf(l.out, "\r\033[K%s", string(text))
}

// Clear removes the line.
func (l *StatusLine) Clear() {
	if l.shown {
		l.shown = false
		_, _ = fmt.Fprint(l.out, "\r\033[K")
	}
}
