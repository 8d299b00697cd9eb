// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"dgbot.io/key-operator/internal/cli/display"
)

var leakColumns = []display.Column[leak]{
	{Heading: "STANDING", Cell: func(l *leak, _ time.Time) string { return string(l.Standing) }, Tone: func(l *leak) display.Tone { return l.Standing.tone() }},
	{Heading: "WHERE", Cell: func(l *leak, _ time.Time) string { return l.where() }},
	{Heading: "KEY", Cell: func(l *leak, _ time.Time) string { return l.Key }},
	{Heading: "OF", Cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return l.Holder.Namespace + "/" + l.Holder.Name
	}},
	{Heading: "REVISION", Cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return strconv.FormatInt(l.Holder.Revision, 10)
	}},
	{Heading: "LABEL", Wide: true, Cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return l.Holder.Label
	}},
	{Heading: "VERDICT", Wide: true, Cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return string(l.Holder.Verdict)
	}},
	{Heading: "BASE64", Wide: true, Cell: func(l *leak, _ time.Time) string { return strconv.FormatBool(l.Base64) }},
	{Heading: "COMMIT", Wide: true, Cell: func(l *leak, _ time.Time) string { return l.Commit }},
	{Heading: "FILE", Wide: true, Cell: func(l *leak, _ time.Time) string { return l.File }},
}

// shortCommit is how much of a commit's hash is shown to people.
const shortCommit = 12

// where is the place in a form that editors and terminals know. In a history the commit and the file come first.
func (l *leak) where() string {
	place := fmt.Sprintf("%s (byte %d)", l.Path, l.Offset)
	if l.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", l.Path, l.Line, l.Column)
	}
	var in []string
	if l.Commit != "" {
		in = append(in, "commit "+l.Commit[:min(len(l.Commit), shortCommit)])
	}
	if l.File != "" {
		in = append(in, l.File)
	}
	if len(in) == 0 {
		return place
	}
	return strings.Join(in, " ") + " (" + place + ")"
}

func (v *scan) print() error {
	if v.output == "json" || v.output == "yaml" {
		return display.PrintValue(v.Streams.Out, v.output, v.result)
	}
	if len(v.result.Leaks) > 0 || v.output == "csv" {
		if err := display.PrintTable(v.Streams.Out, v.output, leakColumns, v.result.Leaks, v.Clock.Now()); err != nil {
			return err
		}
	}
	return display.Writef(v.Streams.ErrOut, "%s read, %s\n", display.Counted(v.result.Files, "file"), sizeText(v.result.Bytes))
}
