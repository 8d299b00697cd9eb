// SPDX-License-Identifier: Apache-2.0

package search

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// gitLog follows the output of git log -p, git show, git diff or git format-patch, to know in which commit and file a line is.
type gitLog struct {
	commit, file string
	// commitLine matches the line that a commit begins with. Its groups are the columns of --graph and the hash.
	commitLine *regexp.Regexp
	// graph is how many bytes --graph puts in front of each line of the present commit.
	graph int
	// line is the begin of a line whose end has not been read yet.
	line []byte
	// part is the part of the history that the line is in.
	part historyPart
	// before is the path that the file had before the commit.
	before string
}

// historyPart is a part of a Git history. The lines of each have another meaning: in a hunk, "+++ x" is a line that was added.
type historyPart int

const (
	// A history begins with a message, which is what the zero value stands for.
	_ historyPart = iota
	// inHeader is between the begin of a file's diff and its first hunk.
	inHeader
	inHunk
)

// longestLine is more than a line with a commit or a path has.
const longestLine = 8 << 10

const (
	// graphColumns are what --graph puts in front of a commit.
	graphColumns = `[|\\/_ ]*\*[-.|\\/_ ]*`
	// revisionMark is what --left-right, --boundary and --cherry-mark put in front of a hash.
	revisionMark = `(?:[-<>=+^] )?`
)

// commitLines match the first line of each form of a Git history. A form with an abbreviated hash comes last, because the message of a
// commit may have such a line in the other forms.
var commitLines = []*regexp.Regexp{
	regexp.MustCompile(`^()(?:commit|From) ` + revisionMark + `([0-9a-f]{40,64})(?:\s|$)`),
	regexp.MustCompile(`^(` + graphColumns + `)commit ` + revisionMark + `([0-9a-f]{4,64})(?:\s|$)`),
	regexp.MustCompile(`^()commit ` + revisionMark + `([0-9a-f]{4,64})(?:\s|$)`),
}

// oneLineCommits match a commit of --oneline and of --format=reference. Such lines are in other texts too, so a diff must follow.
var oneLineCommits = []*regexp.Regexp{
	regexp.MustCompile(`^(` + graphColumns + `)` + revisionMark + `([0-9a-f]{4,64})(?:\s|$)`),
	regexp.MustCompile(`^()` + revisionMark + `([0-9a-f]{4,64})(?:\s|$)`),
}

var (
	// fileLine matches the line that the diff of a file begins with.
	fileLine = regexp.MustCompile(`(?m)^[|\\/_ ]*diff --(?:git|cc|combined) `)
	// tagLine matches the begin of what git show writes for an annotated tag.
	tagLine = regexp.MustCompile(`^tag \S+\r?\nTagger: `)
)

// newGitLog returns the follower of a text that begins as a Git history or a diff does; nil for other texts.
func newGitLog(head []byte) *gitLog {
	head = withoutControlSequences(head)
	if bytes.HasPrefix(head, []byte("diff --git ")) || tagLine.Match(head) {
		return &gitLog{commitLine: commitLines[0]}
	}
	for _, line := range commitLines {
		if line.Match(head) {
			return &gitLog{commitLine: line}
		}
	}
	for _, line := range oneLineCommits {
		if line.Match(head) && fileLine.Match(head) {
			return &gitLog{commitLine: line}
		}
	}
	return nil
}

// hasDiff reports whether a text that is no Git history in a form that newGitLog knows has the diff of a file in it.
func hasDiff(head []byte) bool { return fileLine.Match(withoutControlSequences(head)) }

// withoutControlSequences returns a text without colours.
func withoutControlSequences(text []byte) []byte {
	if bytes.IndexByte(text, escapeCharacter) < 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] == escapeCharacter {
			if length := controlSequence(text[i:]); length > 0 {
				i += length
				continue
			}
		}
		out = append(out, text[i])
		i++
	}
	return out
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
		g.take(bytes.TrimSuffix(withoutControlSequences(line), []byte{'\r'}))
		g.line, text = g.line[:0], text[end+1:]
	}
}

func (g *gitLog) take(line []byte) {
	rest := g.withoutGraph(line)
	if g.part == inHunk && len(rest) > 0 && strings.IndexByte(" +-\\", rest[0]) >= 0 {
		return // a line of the file, whatever it looks like
	}
	if found := g.commitLine.FindSubmatch(line); found != nil {
		*g = gitLog{commit: string(found[2]), commitLine: g.commitLine, graph: len(found[1]), line: g.line}
		return
	}
	paths, isDiff := bytes.CutPrefix(rest, []byte("diff --"))
	switch {
	case isDiff:
		// Of a merge there is only this line with the path: "diff --cc PATH".
		_, path, _ := strings.Cut(string(paths), " ")
		g.part, g.before, g.file = inHeader, "", unquotedPath(path)
	case g.part == inHeader && bytes.HasPrefix(rest, []byte("--- ")):
		g.before = gitPath(rest[4:])
	case g.part == inHeader && bytes.HasPrefix(rest, []byte("+++ ")):
		if g.file = gitPath(rest[4:]); g.file == "" {
			g.file = g.before // it was deleted
		}
	case bytes.HasPrefix(rest, []byte("@@")):
		g.part = inHunk
	}
}

// withoutGraph returns a line without the columns of --graph. A blank behind them belongs to the diff.
func (g *gitLog) withoutGraph(line []byte) []byte {
	at := 0
	for at < min(g.graph, len(line)) && strings.IndexByte(`|\/_ `, line[at]) >= 0 {
		at++
	}
	return line[at:]
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
