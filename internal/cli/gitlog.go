// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// gitLog follows the output of git log -p, git show, git diff or git format-patch, to know in which commit and file a line is.
type gitLog struct {
	commit, file string
	// line is the begin of a line whose end has not been read yet.
	line []byte
	// inHeader: between the begin of a file's diff and its first hunk. Behind it, a line "+++ x" is one that was added.
	inHeader bool
	// before is the path that the file had before the commit.
	before string
}

// longestLine is more than a line with a commit or a path has.
const longestLine = 8 << 10

// commitLine is how a commit begins, in git log and in git format-patch.
var commitLine = regexp.MustCompile(`^(?:commit|From) ([0-9a-f]{40,64})(?:\s|$)`)

// isGitLog reports whether a text begins as a Git history or a diff does.
func isGitLog(head []byte) bool {
	return commitLine.Match(head) || bytes.HasPrefix(head, []byte("diff --git "))
}

// follow takes the text that has been passed.
func (g *gitLog) follow(text []byte) {
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			g.line = append(g.line, text[:min(len(text), max(0, longestLine-len(g.line)))]...)
			return
		}
		line := text[:end]
		if len(g.line) > 0 {
			line = append(g.line, line...)
		}
		g.take(bytes.TrimSuffix(line, []byte{'\r'}))
		g.line, text = g.line[:0], text[end+1:]
	}
}

func (g *gitLog) take(line []byte) {
	if len(line) == 0 || strings.IndexByte("cFd-+@", line[0]) < 0 {
		return
	}
	rest, isDiff := bytes.CutPrefix(line, []byte("diff --"))
	switch {
	case isDiff:
		// Of a merge there is only this line with the path: "diff --cc PATH".
		_, path, _ := strings.Cut(string(rest), " ")
		g.inHeader, g.before, g.file = true, "", unquotedPath(path)
	case g.inHeader && bytes.HasPrefix(line, []byte("--- ")):
		g.before = gitPath(line[4:])
	case g.inHeader && bytes.HasPrefix(line, []byte("+++ ")):
		if g.file = gitPath(line[4:]); g.file == "" {
			g.file = g.before // it was deleted
		}
	case bytes.HasPrefix(line, []byte("@@")):
		g.inHeader = false
	default:
		if found := commitLine.FindSubmatch(line); found != nil {
			*g = gitLog{commit: string(found[1]), line: g.line}
		}
	}
}

// gitPath is the path in a line such as "+++ b/app/.env"; empty for a file that does not exist.
func gitPath(text []byte) string {
	path := unquotedPath(strings.TrimSuffix(string(text), "\t"))
	if path == "/dev/null" {
		return ""
	}
	// The letters are those of diff.mnemonicPrefix.
	if len(path) > 2 && path[1] == '/' && strings.IndexByte("abciwo", path[0]) >= 0 {
		return path[2:]
	}
	return path
}

// unquotedPath undoes Git's quotes, which are those of C.
func unquotedPath(path string) string {
	if plain, err := strconv.Unquote(path); err == nil {
		return plain
	}
	return path
}
