// SPDX-License-Identifier: Apache-2.0

package display

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"
)

// Column is a column of a table with rows of type T. For programs, now is zero, and times are formatted in RFC 3339.
type Column[T any] struct {
	Heading string
	// Wide columns are left out of the output table.
	Wide bool
	// Cell returns the text of the column in a row.
	Cell func(row *T, now time.Time) string
	// Tone returns how the cell is shown on a terminal; all are Neutral if nil.
	Tone func(row *T) Tone
}

// columnGap is the number of spaces between two columns.
const columnGap = 3

// PrintTable prints rows in the output table, wide (a table with the wide columns) or csv (comma-separated values with all columns).
func PrintTable[T any](out io.Writer, output string, columns []Column[T], rows []T, now time.Time) error {
	if output == "csv" {
		// harmless, which out may be, inspects each write alone: csv.Writer's buffer may end within a letter or a key.
		var text bytes.Buffer
		table := csv.NewWriter(&text)
		_ = table.Write(headings(columns))
		for i := range rows {
			row := cells(columns, &rows[i], time.Time{})
			for at := range row {
				row[at] = spreadsheetCell(row[at])
			}
			_ = table.Write(row)
		}
		table.Flush()
		_, err := text.WriteTo(out)
		return cmp.Or(table.Error(), err)
	}
	columns = slices.DeleteFunc(slices.Clone(columns), func(c Column[T]) bool { return c.Wide && output != "wide" })
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, columnGap, ' ', 0)
	laidOut, tones := [][]string{headings(columns)}, [][]Tone{nil}
	for i := range rows {
		laidOut = append(laidOut, cells(columns, &rows[i], now))
		tones = append(tones, tonesOf(columns, &rows[i]))
	}
	for _, row := range laidOut {
		for i := range row {
			row[i] = Plain(row[i])
		}
		writeRow(table, row)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if h, ok := out.(harmless); ok && h.hasColor {
		return writeColored(h, text.Bytes(), laidOut, tones)
	}
	_, err := text.WriteTo(out)
	return err
}

func tonesOf[T any](columns []Column[T], row *T) []Tone {
	all := make([]Tone, len(columns))
	for i, c := range columns {
		if c.Tone != nil {
			all[i] = c.Tone(row)
		}
	}
	return all
}

func headings[T any](columns []Column[T]) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.Heading)
	}
	return all
}

func cells[T any](columns []Column[T], row *T, now time.Time) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.Cell(row, now))
	}
	return all
}

// PrintValue prints a value in the output json or yaml. It escapes what NewWriter would replace.
func PrintValue(out io.Writer, output string, value any) error {
	text, err := json.MarshalIndent(value, "", "    ")
	text = escapeInvisible(text, output == "yaml")
	if err == nil && output == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return err
	}
	if output == "json" {
		text = append(text, '\n')
	}
	_, err = out.Write(text)
	return err
}
