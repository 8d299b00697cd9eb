// SPDX-License-Identifier: Apache-2.0

// Package display writes what users and programs read: lines, tables, JSON and YAML. It holds every rule that keeps text from the cluster and
// from files from acting on a terminal, in a spreadsheet or in a shell.
package display

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/validation"

	"dgbot.io/key-operator/internal/apikey"
)

// Labels, messages, mount paths, names of files and answers of servers come from other authors than the user who reads them. This file
// holds every rule that keeps such text from acting where it is shown:
//
//   - harmless wraps both streams, for terminals;
//   - writef and writeRow write the lines and the cells of texts and tables;
//   - writeColored is for tables in color, whose codes harmless would replace;
//   - spreadsheetCell is for comma-separated values;
//   - ShellCommand is for commands that are advised;
//   - escapeInvisible is for JSON, and for YAML that is made of it.
//
// The page of audit comes from html/template, behind harmless. A test holds the other files to
// these functions.

// harmless is a writer that replaces what moves the cursor, colors the terminal, changes the direction of writing or is invisible. It
// masks keys, too: a user may have pasted one where a name belongs.
type harmless struct {
	out io.Writer
	// hasColor is set if tables may be in color.
	hasColor bool
}

// NewWriter returns a writer to out that makes text harmless. It looks at each write alone, so a write must not end within a character or a
// key.
func NewWriter(out io.Writer) io.Writer { return harmless{out, HasColor(out)} }

// Write implements io.Writer.
func (h harmless) Write(text []byte) (int, error) {
	if _, err := io.WriteString(h.out, clean(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// invisible are the classes of characters that have no shape of their own: by class, because a list is out of date with the next version
// of Unicode. Bidirectional controls are in Cf. A text can hide another one in variation selectors.
var invisible = []*unicode.RangeTable{unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector}

func visible(r rune) rune {
	switch {
	case r == '\n', r == '\t', r == '\uFE0E', r == '\uFE0F': // the last two show a character as text or as an emoji
		return r
	case unicode.In(r, invisible...):
		return utf8.RuneError
	}
	return r
}

// escapeInvisible escapes in JSON what harmless would replace, so that programs get the text as it is. YAML decoders reject some of these
// characters: without the escapes, one of them in one label would make the whole list unreadable as YAML.
// YAML has a form of its own for what JSON writes as two escapes.
func escapeInvisible(text []byte, forYAML bool) []byte {
	var escaped []byte
	for _, r := range string(text) {
		if visible(r) == r {
			escaped = utf8.AppendRune(escaped, r)
			continue
		}
		if forYAML {
			escaped = fmt.Appendf(escaped, `\U%08x`, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	return escaped
}

// OneLine returns a text that stays in its line and in its cell. Runs of white space become one space: a line break would begin a line of its own, and
// several spaces would imitate the columns of a table. Invalid bytes are replaced: tabwriter takes 0xff for a sign of its own.
func OneLine(text string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, string(utf8.RuneError))), " ")
}

// Plain returns a text on one line, without invisible characters and with keys masked, for what is not written to a stream of NewWriter.
func Plain(text string) string { return clean(OneLine(text)) }

// clean replaces characters that act on a terminal or are invisible, and masks keys.
func clean(text string) string { return apikey.Redact(strings.Map(visible, text)) }

// Writef formats a text that the plugin itself is the author of, as fmt.Fprintf does, and writes it at once. It puts every argument that is a
// text, an error or a fmt.Stringer on one line; line breaks and tabs come from the format alone. All packages of the plugin write through it.
func Writef(out io.Writer, format string, arguments ...any) error {
	for i, argument := range arguments {
		switch value := argument.(type) {
		case error:
			arguments[i] = OneLine(value.Error())
		case fmt.Stringer:
			arguments[i] = OneLine(value.String())
		default:
			if reflect.ValueOf(argument).Kind() == reflect.String {
				arguments[i] = OneLine(reflect.ValueOf(argument).String())
			}
		}
	}
	_, err := fmt.Fprintf(out, format, arguments...)
	return err
}

// writeRow writes one row of a table, each cell on one line.
func writeRow(table io.Writer, cells []string) {
	for i, cell := range cells {
		if i > 0 {
			_ = Writef(table, "\t")
		}
		_ = Writef(table, "%s", cell)
	}
	_ = Writef(table, "\n")
}

// formula matches a sign by which a spreadsheet takes a cell for a formula, in every place where a cell may begin: at the begin of the
// text, and behind what a spreadsheet of another language takes for the separator. The wide forms count in East Asian ones.
var formula = regexp.MustCompile(`(^|[;|"])(\s*)([=+\-@＝＋－＠])`)

// spreadsheetCell keeps a spreadsheet from taking a text, or a part of it, for a formula.
func spreadsheetCell(text string) string { return formula.ReplaceAllString(OneLine(text), "$1$2'$3") }

// IsName reports whether a text can be the name of an object. Shells evaluate what completion offers them, so it offers names only.
func IsName(text string) bool { return len(validation.NameIsDNSSubdomain(text, false)) == 0 }

// plainWord matches what shells take as it is.
var plainWord = regexp.MustCompile(`^[0-9A-Za-z_./:@%,-][0-9A-Za-z_./:@%,=-]*$`)

// ShellCommand returns a command that a user may copy into a shell. Every other word is quoted, also one that was checked: it costs nothing,
// and the check may be in another package. A word that begins with a hyphen is a flag, quoted or not: callers check names.
func ShellCommand(words ...string) string {
	quoted := make([]string, 0, len(words))
	for _, word := range words {
		if !plainWord.MatchString(word) {
			word = "'" + strings.ReplaceAll(OneLine(word), "'", `'\''`) + "'"
		}
		quoted = append(quoted, word)
	}
	return strings.Join(quoted, " ")
}
