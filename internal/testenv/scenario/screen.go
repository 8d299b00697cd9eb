// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"dgbot.io/key-operator/internal/cli/display"
)

// Screen shows a scenario while it is played. A nil Screen shows nothing.
type Screen struct {
	// Out is where it is shown.
	Out io.Writer
	// Color has commands and titles stand out, with the codes of terminals.
	Color bool
	// MostOutput is how many lines of a command's output are shown, each up to mostWidth, and without those that only confirm what was
	// asked. All is shown if it is zero.
	MostOutput int
}

const (
	bold  = "\x1b[1m"
	cyan  = "\x1b[36m"
	faint = "\x1b[2m"
	plain = "\x1b[0m"
)

// Title begins a chapter.
func (s *Screen) Title(text string) {
	s.show("", "")
	s.show(bold, "── "+text)
}

func (s *Screen) say(text string) { s.show("", "   "+text) }

// command shows a program and its arguments. "< file" at their end is its input.
func (s *Screen) command(program string, args ...string) {
	redirection := ""
	if at := len(args) - 2; at >= 0 && (args[at] == "<" || args[at] == ">") {
		redirection, args = " "+args[at]+" "+args[at+1], args[:at]
	}
	s.show(cyan, "   $ "+display.ShellCommand(append([]string{program}, args...)...)+redirection)
}

// MostOutput is how many lines of each command's output the demo shows, so that it can be read as a whole.
const MostOutput = 4

// mostWidth is how many characters of a line are shown.
const mostWidth = 160

// confirms matches what kubectl prints of a command that did what it was asked.
var confirms = regexp.MustCompile(`^(\S+/\S+ (created|configured|patched|annotated|condition met)|\S+ "\S+" deleted.*)$`)

func (s *Screen) output(text string) {
	if s == nil {
		return
	}
	isShort := s.MostOutput > 0
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" || isShort && confirms.MatchString(line) {
			continue
		}
		if shown := []rune(line); isShort && len(shown) > mostWidth {
			line = string(shown[:mostWidth]) + "…"
		}
		lines = append(lines, line)
	}
	more := 0
	if isShort && len(lines) > s.MostOutput {
		more = len(lines) - s.MostOutput + 1
		lines = lines[:s.MostOutput-1]
	}
	for _, line := range lines {
		s.show(faint, "     "+line)
	}
	if more > 0 {
		s.show(faint, fmt.Sprintf("     … %d more lines (--all shows them)", more))
	}
}

func (s *Screen) show(color, line string) {
	if s == nil {
		return
	}
	if s.Color && color != "" {
		line = color + line + plain
	}
	_, _ = fmt.Fprintln(s.Out, line) // what the reader of a closed pipe does not see fails nothing
}
