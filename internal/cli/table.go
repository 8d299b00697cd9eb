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
)

// listOutputs are the forms of what has rows.
var listOutputs = []string{"table", "wide", "json", "yaml", "csv"}

func checkOutput(output string, outputs []string) error {
	if !slices.Contains(outputs, output) {
		return usage("--output is %q: want one of %s", output, strings.Join(slices.DeleteFunc(slices.Clone(outputs), func(o string) bool { return o == "" }), ", "))
	}
	return nil
}

// column is one of a table whose rows are of a type. Programs get times in RFC 3339: then the present time is zero.
type column[T any] struct {
	heading string
	wide    bool
	cell    func(row *T, now time.Time) string
}

// printTable prints rows as a table, a wide one, or as comma-separated values with all columns.
func printTable[T any](out io.Writer, output string, columns []column[T], rows []T, now time.Time) error {
	if output == "csv" {
		// In one piece: what is written in several is cut anywhere, also within a letter, and out looks at each.
		var text bytes.Buffer
		table := csv.NewWriter(&text)
		_ = table.Write(headings(columns))
		for i := range rows {
			_ = table.Write(cells(columns, &rows[i], time.Time{}, noFormula))
		}
		table.Flush()
		_, err := text.WriteTo(out)
		return cmp.Or(table.Error(), err)
	}
	columns = slices.DeleteFunc(slices.Clone(columns), func(c column[T]) bool { return c.wide && output != "wide" })
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, strings.Join(headings(columns), "\t"))
	for i := range rows {
		_, _ = fmt.Fprintln(table, strings.Join(cells(columns, &rows[i], now, oneLine), "\t"))
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

func cells[T any](columns []column[T], row *T, now time.Time, clean func(string) string) []string {
	var all []string
	for _, c := range columns {
		all = append(all, clean(c.cell(row, now)))
	}
	return all
}

// printValue prints something as JSON or YAML.
func printValue(out io.Writer, output string, value any) error {
	text, err := json.MarshalIndent(value, "", "    ")
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

// soon is how far ahead a time may be that has passed by another clock: a revision counts as issued in the second after its request.
const soon = 2 * time.Second

// told is a time as people like it, or in RFC 3339 where no present time is given.
func told(at *metav1.Time, now time.Time) string {
	switch {
	case at == nil:
		return ""
	case now.IsZero():
		return at.UTC().Format(time.RFC3339)
	case at.After(now.Add(soon)):
		return "in " + duration.HumanDuration(at.Sub(now))
	}
	return duration.HumanDuration(max(0, now.Sub(at.Time))) + " ago"
}

// counted is a number of things.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wereCounted is a number of things with the verb that goes with it.
func wereCounted(n int, what string) string {
	if n == 1 {
		return counted(n, what) + " was"
	}
	return counted(n, what) + " were"
}
