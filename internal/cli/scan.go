// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"dgbot.io/key-operator/internal/apikey"
)

// liveness is what a cluster says of a key that was found.
type liveness string

const (
	// live: it verifies, or will when its key is enabled again.
	live liveness = "Live"
	// dead: it was revoked or has ended.
	dead liveness = "Dead"
	// unknown: no record knows it.
	unknown liveness = "Unknown"
	// unasked: no cluster could be asked.
	unasked liveness = "NotAsked"
)

// leak is a key that was found.
type leak struct {
	Path string `json:"path"`
	// Line and Column count from 1, and are left out for what is no text.
	Line        int      `json:"line,omitempty"`
	Column      int      `json:"column,omitempty"`
	Offset      int64    `json:"offset"`
	Base64      bool     `json:"base64,omitempty"`
	Key         string   `json:"key"`
	Environment string   `json:"environment"`
	KeyID       string   `json:"keyID"`
	Standing    liveness `json:"standing"`
	Holder      *holder  `json:"holder,omitempty"`

	text apikey.Key
}

// scanned is what came of a scan.
type scanned struct {
	Files      int      `json:"files"`
	Bytes      int64    `json:"bytes"`
	Skipped    []string `json:"skipped"`
	Unreadable []string `json:"unreadable"`
	Leaks      []leak   `json:"leaks"`
}

// scan is one call of the verb.
type scan struct {
	*session
	output, maxSize     string
	offline, ignoreDead bool
	// limit is how large a file may be that is read; 0 for any size.
	limit    int64
	ctx      context.Context //nolint:containedctx // a scan is one call
	progress progress
	result   scanned
}

func newScan(s *session) *cobra.Command {
	v := &scan{session: s, result: scanned{Skipped: []string{}, Unreadable: []string{}, Leaks: []leak{}}}
	c := &cobra.Command{
		Use:   "scan (PATH... | -)",
		Short: "Find keys in files, and say which are live",
		Long: `Reads files, folders with all that is in them, or with - standard input, and shows the keys in them: also in binary files, and as base64, as in
the manifest of a Secret. A key counts whose checksum is right, so there are no false alarms. Where a cluster can be asked, it says
which of them are live, and whose.

    kubectl dgbot scan .
    git log -p --all | kubectl dgbot scan -

Not looked into: .git folders (what Git has packed is read as in the example), symbolic links, archives and what is compressed.

Exit code 3: keys were found. 1: none, but not everything could be read.`,
		Args: func(_ *cobra.Command, paths []string) error { return v.check(paths) },
		RunE: func(c *cobra.Command, paths []string) error { return v.run(c.Context(), paths) },
	}
	c.Flags().StringVarP(&v.output, "output", "o", "table", "One of "+strings.Join(listOutputs, ", "))
	c.Flags().StringVar(&v.maxSize, "max-size", "1Gi", "Size from which on files are skipped, and named on standard error; 0 for none")
	c.Flags().BoolVar(&v.offline, "offline", false, "Do not ask the cluster")
	c.Flags().BoolVar(&v.ignoreDead, "ignore-dead", false, "Leave out keys that do not verify any more, as far as a cluster says so")
	return c
}

func (v *scan) check(paths []string) error {
	size, err := resource.ParseQuantity(v.maxSize)
	switch {
	case slices.ContainsFunc(paths, isKey):
		return noKeys(nil, paths)
	case len(paths) == 0:
		return usage("say what to scan: PATH..., or - for standard input")
	case slices.Contains(paths, "-") && len(paths) > 1:
		return usage("- for standard input goes without any other PATH")
	case err != nil || size.Sign() < 0:
		return usage("--max-size is %q: want a size such as 100Mi", v.maxSize)
	}
	v.limit = size.Value()
	return checkOutput(v.output, listOutputs)
}

// isKey says whether somebody has pasted a key.
func isKey(text string) bool { return apikey.Redact(text) != text }

func (v *scan) run(ctx context.Context, paths []string) error {
	v.progress = newProgress(v.terminal, v.clock)
	v.ctx = ctx
	if paths[0] == "-" {
		v.read("<stdin>", v.streams.In)
	} else {
		for _, path := range paths {
			if err := v.walk(ctx, path); err != nil {
				return err
			}
		}
	}
	v.progress.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := v.standings(ctx); err != nil {
		return err
	}
	if v.ignoreDead {
		v.result.Leaks = slices.DeleteFunc(v.result.Leaks, func(l leak) bool { return l.Standing == dead })
	}
	if err := v.print(); err != nil {
		return err
	}
	switch n := len(v.result.Leaks); {
	case n > 0:
		return no("%s found", counted(n, "key"))
	case len(v.result.Unreadable) > 0:
		return fmt.Errorf("%s could not be read", counted(len(v.result.Unreadable), "file"))
	}
	return nil
}

// walk reads a file, or all that is in a folder. What cannot be read is noted, and the rest goes on. A link that is named is followed,
// others are not.
func (v *scan) walk(ctx context.Context, root string) error {
	info, err := os.Stat(root)
	switch {
	case err != nil:
		return usage("%w", err)
	case info.IsDir():
		root = filepath.Clean(root) + string(filepath.Separator)
	case !info.Mode().IsRegular():
		// It may have no end, and reading it may wait for ever.
		return usage("%s is neither a file nor a folder: give it to 'scan -' on standard input", root)
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			v.unreadable(path, err)
			return nil
		case entry.IsDir() && entry.Name() == ".git" && path != root:
			return fs.SkipDir
		case entry.IsDir(), !entry.Type().IsRegular() && path != root:
			return nil
		}
		path = filepath.Clean(path)
		v.open(path)
		return nil
	})
}

func (v *scan) open(path string) {
	file, err := os.Open(path) //nolint:gosec // it is for files of whoever calls
	if err != nil {
		v.unreadable(path, err)
		return
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && v.limit > 0 && info.Size() >= v.limit {
		v.result.Skipped = append(v.result.Skipped, path)
		_, _ = fmt.Fprintf(v.streams.ErrOut, "skipped: %s is not smaller than %s\n", path, v.maxSize)
		return
	}
	v.read(path, file)
}

func (v *scan) read(path string, in io.Reader) {
	size, err := search(&watched{v.ctx, in, &v.progress}, func(m match) {
		v.result.Leaks = append(v.result.Leaks, leak{
			Path: path, Line: m.line, Column: m.column, Offset: m.offset, Base64: m.encoded,
			Key: m.key.Masked(), Environment: m.key.Environment(), KeyID: m.key.ID(), Standing: unasked, text: m.key,
		})
	})
	v.result.Files++
	v.result.Bytes += size
	v.progress.files++
	if err != nil && v.ctx.Err() == nil {
		v.unreadable(path, err)
	}
}

func (v *scan) unreadable(path string, err error) {
	v.result.Unreadable = append(v.result.Unreadable, path)
	_, _ = fmt.Fprintf(v.streams.ErrOut, "unreadable: %s: %v\n", path, err)
}

// standings asks a cluster which keys are live. That none can be asked is no failure.
func (v *scan) standings(ctx context.Context) error {
	if v.offline || len(v.result.Leaks) == 0 {
		return nil
	}
	asked := map[string]*leak{}
	f, err := v.connectToFind(ctx)
	for i := range v.result.Leaks {
		if err != nil {
			break
		}
		l := &v.result.Leaks[i]
		if known := asked[l.text.Hash()]; known != nil {
			l.Standing, l.Holder = known.Standing, known.Holder
			continue
		}
		asked[l.text.Hash()] = l
		if l.Holder, err = f.find(ctx, l.text); err == nil {
			l.Standing = livenessOf(l.Holder)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(v.streams.ErrOut, "note: no cluster was asked which of them are live:", err)
	}
	return ctx.Err()
}

// connectToFind connects, and does not wait long for a cluster that does not answer.
func (v *scan) connectToFind(ctx context.Context) (*finder, error) {
	cluster, err := v.connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	return newFinder(ctx, cluster)
}

func livenessOf(h *holder) liveness {
	switch {
	case h == nil:
		return unknown
	case h.Verdict.IsFinal():
		return dead
	}
	return live
}

var leakColumns = []column[leak]{
	{"STANDING", false, func(l *leak, _ time.Time) string { return string(l.Standing) }},
	{"WHERE", false, func(l *leak, _ time.Time) string { return l.where() }},
	{"KEY", false, func(l *leak, _ time.Time) string { return l.Key }},
	{"OF", false, func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return l.Holder.Namespace + "/" + l.Holder.Name
	}},
	{"REVISION", false, func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return strconv.FormatInt(l.Holder.Revision, 10)
	}},
	{"LABEL", true, func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return l.Holder.Label
	}},
	{"VERDICT", true, func(l *leak, _ time.Time) string {
		if l.Holder == nil {
			return ""
		}
		return string(l.Holder.Verdict)
	}},
	{"BASE64", true, func(l *leak, _ time.Time) string { return strconv.FormatBool(l.Base64) }},
}

// where is the place in a form that editors and terminals know.
func (l *leak) where() string {
	if l.Line > 0 {
		return fmt.Sprintf("%s:%d:%d", l.Path, l.Line, l.Column)
	}
	return fmt.Sprintf("%s (byte %d)", l.Path, l.Offset)
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
	_, err := fmt.Fprintf(v.streams.ErrOut, "%s read, %s\n", counted(v.result.Files, "file"), sizeText(v.result.Bytes))
	return err
}
