// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// listOutputs are the values of --output for verbs that print rows.
var listOutputs = []string{"table", "wide", "json", "yaml", "csv"}

func checkOutput(output string, outputs []string) error {
	if !slices.Contains(outputs, output) {
		return usage("--output is %q: want one of %s", output, strings.Join(slices.DeleteFunc(slices.Clone(outputs), func(o string) bool { return o == "" }), ", "))
	}
	return nil
}

// column is a column of a table with rows of type T. For programs, now is zero, and times are formatted in RFC 3339.
type column[T any] struct {
	heading string
	wide    bool
	cell    func(row *T, now time.Time) string
}

// printTable prints rows as a table, as a table with the wide columns, or as comma-separated values with all columns.
func printTable[T any](out io.Writer, output string, columns []column[T], rows []T, now time.Time) error {
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
	columns = slices.DeleteFunc(slices.Clone(columns), func(c column[T]) bool { return c.wide && output != "wide" })
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	writeRow(table, headings(columns))
	for i := range rows {
		writeRow(table, cells(columns, &rows[i], now))
	}
	return table.Flush()
}

func headings[T any](columns []column[T]) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.heading)
	}
	return all
}

func cells[T any](columns []column[T], row *T, now time.Time) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.cell(row, now))
	}
	return all
}

// printValue prints a value as JSON or YAML.
func printValue(out io.Writer, output string, value any) error {
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

// timeText formats a time relative to now, or in RFC 3339 if now is zero.
func timeText(at *metav1.Time, now time.Time) string {
	switch {
	case at == nil:
		return ""
	case now.IsZero():
		return at.UTC().Format(time.RFC3339)
	case at.After(now.Add(instant.ClockTolerance)):
		return "in " + duration.HumanDuration(at.Sub(now))
	}
	return duration.HumanDuration(max(0, now.Sub(at.Time))) + " ago"
}

// counted returns a number with its noun, such as "2 keys".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wereCounted returns a number with its noun and verb, such as "2 files were".
func wereCounted(n int, what string) string {
	if n == 1 {
		return counted(n, what) + " was"
	}
	return counted(n, what) + " were"
}
