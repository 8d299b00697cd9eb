// SPDX-License-Identifier: Apache-2.0

// Package scan has the verb scan: it reads files, folders, archives and standard input, and reports the keys in them.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/lookup"
	"dgbot.io/key-operator/internal/cli/search"
	"dgbot.io/key-operator/internal/cli/session"
)

// liveness is the state of a key that was found, by the records of a cluster.
type liveness string

const (
	// live: the key verifies, or will when its DGbotAPIKey is enabled again.
	live liveness = "Live"
	// dead: the key was revoked or has expired.
	dead liveness = "Dead"
	// unknown: no record has the key's hash.
	unknown liveness = "Unknown"
	// unasked: no cluster was asked.
	unasked liveness = "NotAsked"
)

// tone is how it is shown in a table.
func (l liveness) tone() display.Tone {
	switch l {
	case live:
		return display.Bad
	case dead:
		return display.Faint
	}
	return display.Warning
}

// leak is a key that was found, and its place.
type leak struct {
	Path string `json:"path"`
	// Line and Column count from 1. They are left out if the file is binary.
	Line   int   `json:"line,omitempty"`
	Column int   `json:"column,omitempty"`
	Offset int64 `json:"offset"`
	Base64 bool  `json:"base64,omitempty"`
	// Commit and File are the place of the key in a Git history. Path is the file with the history.
	Commit      string         `json:"commit,omitempty"`
	File        string         `json:"file,omitempty"`
	Key         string         `json:"key"`
	Environment string         `json:"environment"`
	KeyID       string         `json:"keyID"`
	Standing    liveness       `json:"standing"`
	Holder      *lookup.Holder `json:"holder,omitempty"`

	text apikey.Key
}

// omission is a file or folder that was not searched, or not all of it.
type omission struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// scanReport is the result of a scan.
type scanReport struct {
	Files       int        `json:"files"`
	Bytes       int64      `json:"bytes"`
	NotSearched []omission `json:"notSearched"`
	// GitHistories are the histories of work trees. They are not searched, and do not change the exit code: a user who names a folder
	// asks for its files. Each reason has the command that searches the history.
	GitHistories []omission `json:"gitHistories"`
	Leaks        []leak     `json:"leaks"`
}

// scan is one call of the verb.
type scan struct {
	*session.Session
	output, maxSize     string
	offline, ignoreDead bool
	// skipGit leaves out the notes on Git histories.
	skipGit bool
	// hasOtherHistory is true once a key was found in a text that may be a Git history in a form that has no commit for scan.
	hasOtherHistory bool
	// limit is --max-size in bytes; 0 for no limit.
	limit    int64
	ctx      context.Context //nolint:containedctx // a scan is one call
	progress progress
	result   scanReport
}

// New returns the verb scan.
func New(s *session.Session) *cobra.Command {
	v := &scan{Session: s, result: scanReport{NotSearched: []omission{}, GitHistories: []omission{}, Leaks: []leak{}}}
	c := &cobra.Command{
		Use:   "scan (PATH... | -)",
		Short: "Find keys in files, and report which are live",
		Long: `Reads files, folders with everything in them, or with - standard input, and shows the keys in them. A key counts only if its checksum is
right, so there are no false alarms. With access to a cluster, it also shows which keys are live, and their owners.

    kubectl dgbot scan .
    git log -p -m --text --all | kubectl dgbot scan -

It finds keys in plain text and in binary files; in base64, also of a text around the key, as in the manifest of a Secret; in UTF-16; in
quoted-printable; with % and other escapes of single characters; and broken over lines by any of these, in quoted mail or in a diff.
For a Git history it shows commit and file, also with --oneline, --graph and --color. Other forms, such as --format, may lack them.

Searched: gzip, bzip2, zlib, zip (also behind a program) and tar, and these in each other. Not searched, and listed on standard error and
in notSearched of -o json: PDF; other archives, such as xz and zstd, also behind a program or a script; encrypted ones; archives that expand
to --max-size; files from --max-size on; Git packs and bundles; what cannot be read.
Not searched, with a note on standard error and in gitHistories of -o json: .git in a folder. Search the history as above.
Not searched, and not listed: symbolic links.

Exit code 3: keys were found. 1: no key was found, but something is in notSearched. 0: no key was found; a note on .git changes no exit code.`,
		Args: func(_ *cobra.Command, paths []string) error { return v.check(paths) },
		RunE: func(c *cobra.Command, paths []string) error { return v.run(c.Context(), paths) },
	}
	c.Flags().StringVarP(&v.output, "output", "o", "table", "One of "+strings.Join(flags.ListOutputs, ", "))
	c.Flags().StringVar(&v.maxSize, "max-size", "1Gi", "Size from which on files are not searched, as they are or unpacked; 0 for no limit")
	c.Flags().BoolVar(&v.skipGit, "skip-git", false, "Leave out the note that .git is not searched")
	c.Flags().BoolVar(&v.offline, "offline", false, "Do not connect to the cluster")
	c.Flags().BoolVar(&v.ignoreDead, "ignore-dead", false, "Leave out keys that do not verify any more, as far as a cluster says so")
	return c
}

func (v *scan) check(paths []string) error {
	size, err := resource.ParseQuantity(v.maxSize)
	switch {
	case slices.ContainsFunc(paths, isKey):
		return lookup.NoArguments(nil, paths)
	case len(paths) == 0:
		return exit.Usage("say what to scan: PATH..., or - for standard input")
	case slices.Contains(paths, "-") && len(paths) > 1:
		return exit.Usage("- for standard input goes without any other PATH")
	case err != nil || size.Sign() < 0:
		return exit.Usage("--max-size is %q: want a size such as 100Mi", v.maxSize)
	}
	v.limit = size.Value()
	return flags.CheckOutput(v.output, flags.ListOutputs)
}

// isKey reports whether an argument has a key in it, which a user may have pasted.
func isKey(text string) bool { return apikey.Redact(text) != text }

func (v *scan) run(ctx context.Context, paths []string) error {
	v.progress = newProgress(v.Terminal, v.Clock)
	v.ctx = ctx
	if paths[0] == "-" {
		v.read("<stdin>", v.Streams.In, nil)
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
	if v.hasOtherHistory {
		_ = display.Writef(v.Streams.ErrOut, "note: this form of a Git history has no commit and file for scan; they are shown for the output of 'git log -p -m --text --all'\n")
	}
	if v.ignoreDead {
		v.result.Leaks = slices.DeleteFunc(v.result.Leaks, func(l leak) bool { return l.Standing == dead })
	}
	if err := v.print(); err != nil {
		return err
	}
	switch n := len(v.result.Leaks); {
	case n > 0:
		return exit.No("%s found", display.Counted(n, "key"))
	case len(v.result.NotSearched) > 0:
		return fmt.Errorf("no key was found, but %s not searched: see above", display.WereCounted(len(v.result.NotSearched), "file"))
	}
	return nil
}

// walk searches a file, or all files in a folder. It lists what it cannot read, and goes on. It follows root if that is a symbolic link,
// and no other link.
func (v *scan) walk(ctx context.Context, root string) error {
	info, err := os.Stat(root)
	switch {
	case err != nil:
		return exit.Usage("%w", err)
	case info.IsDir():
		root = filepath.Clean(root) + string(filepath.Separator)
	case !info.Mode().IsRegular():
		// A device may have no end, and a named pipe may never have data.
		return exit.Usage("%s is neither a file nor a folder: give it to 'scan -' on standard input", root)
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			v.notSearched(path, err)
			return nil
		case entry.Name() == gitFolder && path != root:
			return v.passGit(path, entry)
		case entry.IsDir(), !entry.Type().IsRegular() && path != root:
			return nil
		}
		path = filepath.Clean(path)
		v.open(path)
		return nil
	})
}

// gitFolder is the folder with a repository's history. In a submodule and in a second work tree it is a file that names another folder.
const gitFolder = ".git"

// passGit notes that a Git history is not searched: Git compresses it in a form of its own.
func (v *scan) passGit(path string, entry fs.DirEntry) error {
	if !v.skipGit {
		git := "git"
		if folder := filepath.Dir(path); folder != "." {
			git = display.ShellCommand("git", "-C", folder)
		}
		reason := fmt.Sprintf("a Git history; search it with: %s log -p -m --text --all | kubectl dgbot scan -", git)
		v.result.GitHistories = append(v.result.GitHistories, omission{path, reason})
		_ = display.Writef(v.Streams.ErrOut, "note: not searched: %s: %s\n", path, reason)
	}
	if entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func (v *scan) open(path string) {
	file, err := os.Open(path) //nolint:gosec // the user names the files
	if err != nil {
		v.notSearched(path, err)
		return
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && v.limit > 0 && info.Size() >= v.limit {
		v.notSearched(path, fmt.Errorf("it is not smaller than %s (--max-size)", v.maxSize))
		return
	}
	v.read(path, file, file)
}

// read searches in. file is the same as a file that can be read in any order; nil if in is no such file.
func (v *scan) read(path string, in io.Reader, file *os.File) {
	p := &unpacker{scan: v, path: path, file: file, left: v.limit}
	p.read(path, &countingReader{v.ctx, in, &v.progress}, 0)
	v.result.Files++
	v.progress.files++
}

func (v *scan) found(path string, m search.Match) {
	v.hasOtherHistory = v.hasOtherHistory || m.IsInOtherHistory
	v.result.Leaks = append(v.result.Leaks, leak{
		Path: path, Line: m.Line, Column: m.Column, Offset: m.Offset, Base64: m.Encoded, Commit: m.Commit, File: m.File,
		Key: m.Key.Masked(), Environment: m.Key.Environment(), KeyID: m.Key.ID(), Standing: unasked, text: m.Key,
	})
}

func (v *scan) notSearched(path string, err error) {
	if v.ctx.Err() != nil {
		return // the user interrupted the scan
	}
	// The error repeats the path.
	var ofPath *fs.PathError
	if errors.As(err, &ofPath) {
		err = fmt.Errorf("%s: %w", ofPath.Op, ofPath.Err)
	}
	v.result.NotSearched = append(v.result.NotSearched, omission{path, err.Error()})
	_ = display.Writef(v.Streams.ErrOut, "not searched: %s: %s\n", path, err)
}

// standings reads from a cluster which keys are live. It is no failure if no cluster answers.
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
		if l.Holder, err = f.Find(ctx, l.text); err == nil {
			l.Standing = livenessOf(l.Holder)
		}
	}
	if err != nil {
		_ = display.Writef(v.Streams.ErrOut, "note: no cluster was asked which of them are live: %s\n", exit.Explain(err))
	}
	return ctx.Err()
}

// connectToFind connects to the cluster, and waits at most lookup.Timeout for its answer.
func (v *scan) connectToFind(ctx context.Context) (*lookup.Finder, error) {
	cluster, err := v.Connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookup.Timeout)
	defer cancel()
	return lookup.NewFinder(ctx, cluster)
}

func livenessOf(h *lookup.Holder) liveness {
	switch {
	case h == nil:
		return unknown
	case h.Verdict.IsFinal():
		return dead
	}
	return live
}
