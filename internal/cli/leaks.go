// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

var leakColumns = []column[leak]{
	{heading: "STANDING", cell: func(l *leak, _ time.Time) string { return string(l.Standing) }},
	{heading: "WHERE", cell: func(l *leak, _ time.Time) string { return l.where() }},
	{heading: "KEY", cell: func(l *leak, _ time.Time) string { return l.Key }},
	{heading: "OF", cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return l.Holder.Namespace + "/" + l.Holder.Name
	}},
	{heading: "REVISION", cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return strconv.FormatInt(l.Holder.Revision, 10)
	}},
	{heading: "LABEL", wide: true, cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return l.Holder.Label
	}},
	{heading: "VERDICT", wide: true, cell: func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return string(l.Holder.Verdict)
	}},
	{heading: "BASE64", wide: true, cell: func(l *leak, _ time.Time) string { return strconv.FormatBool(l.Base64) }},
	{heading: "COMMIT", wide: true, cell: func(l *leak, _ time.Time) string { return l.Commit }},
	{heading: "FILE", wide: true, cell: func(l *leak, _ time.Time) string { return l.File }},
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
		return printValue(v.streams.Out, v.output, v.result)
	}
	if len(v.result.Leaks) > 0 || v.output == "csv" {
		if err := printTable(v.streams.Out, v.output, leakColumns, v.result.Leaks, v.clock.Now()); err != nil {
			return err
		}
	}
	return writef(v.streams.ErrOut, "%s read, %s\n", counted(v.result.Files, "file"), sizeText(v.result.Bytes))
}
