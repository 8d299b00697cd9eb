// SPDX-License-Identifier: Apache-2.0

// Package search finds key texts in data of any length: as they stand, in encodings and in Git histories. It opens no file and no archive.
package search

import (
	"bytes"
	"cmp"
	"io"
	"slices"

	"dgbot.io/key-operator/internal/apikey"
)

// Match is a key in something that was searched.
type Match struct {
	Key apikey.Key
	// Line and column count from 1, the column in characters of one byte, or of two in UTF-16; both are 0 in what is no text. Offset
	// counts bytes from 0.
	Line, Column int
	Offset       int64
	// Encoded: it is in base64, as in the manifest of a Secret.
	Encoded bool
	// Commit and File are where the change that adds or removes the key is, in the output of git log -p and its like.
	Commit, File string
	// IsInOtherHistory is true in a text that may be a Git history in a form that has no commit for Keys.
	IsInOtherHistory bool
}

const (
	// chunk is how much of a file is in memory.
	chunk = 256 << 10
	// window is how much of a file a key may take, in all its encodings and with the margins of the lines that it is wrapped over.
	window = 4 << 10
	// lead is how much of the chunk before is looked at again: a group of base64 may begin in it, or a line of a diff.
	lead = 256
	// sniffed is how much of a file decides whether it is a text; Git does the same.
	sniffed = 8000
)

// Keys calls found for each key with a valid checksum, in the order of their offsets, and returns how many bytes it has searched. It needs
// memory for one chunk, however long in is. It returns the first error of in except io.EOF; found has then been called for what came before.
func Keys(in io.Reader, found func(Match)) (size int64, err error) {
	return searchIn(in, make([]byte, chunk), found)
}

// searchIn searches with a buffer for one chunk, which has to be larger than a window and a lead.
func searchIn(in io.Reader, buffer []byte, found func(Match)) (size int64, err error) {
	filled, done, views := 0, 0, &views{}
	var position *place
	for err == nil {
		var n int
		n, err = fill(in, buffer[filled:])
		filled += n
		data := buffer[:filled]
		if position == nil {
			position = newPlace(data)
		}
		// What begins behind this may go on in the next chunk.
		whole := len(data)
		if err == nil {
			whole -= window
		}
		for _, h := range views.in(data, done, whole, position.log != nil) {
			found(position.mark(data, h))
		}
		size += int64(whole - done)
		if err == nil {
			done = lead
			position.leave(data, whole, whole-lead)
			filled = copy(buffer, data[whole-lead:])
		}
	}
	if err == io.EOF { //nolint:errorlint // what wraps it ended too early
		err = nil
	}
	return size, err
}

// fill reads until a buffer is full. Unlike io.ReadFull it keeps the end of a file apart from a file that ends too early, as what is
// compressed may.
func fill(in io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = in.Read(buffer[n:])
		n += more
	}
	return n, err
}

// in returns the keys that begin in a part of a text, in their order, each once.
func (s *views) in(data []byte, from, before int, inDiff bool) []hit {
	var all []hit
	s.keys(sourceView(data), inDiff, layers, func(h hit) {
		if h.at >= from && h.at < before {
			all = append(all, h)
		}
	})
	slices.SortStableFunc(all, func(a, b hit) int { return cmp.Compare(a.at, b.at) })
	return slices.CompactFunc(all, func(a, b hit) bool { return a.at == b.at && a.key.Hash() == b.key.Hash() })
}

// place is where in a text a search is.
type place struct {
	isText bool
	// width is how many bytes a character has: 1, or 2 in UTF-16.
	width int64
	line  int
	// began is where the line began, and chunk the piece of text that is looked at; seen is how far in that piece lines are counted.
	began, chunk int64
	seen         int
	// log follows the commits and files of a Git history; nil for other texts.
	log *gitLog
	// hasDiff is true for a text that may be a Git history in a form that log cannot follow.
	hasDiff bool
}

// The marks that UTF-16 may begin with.
var littleEndian, bigEndian = []byte{0xff, 0xfe}, []byte{0xfe, 0xff}

func newPlace(data []byte) *place {
	head := data[:min(len(data), sniffed)]
	p := &place{isText: bytes.IndexByte(head, 0) < 0, width: 1, line: 1}
	if isMarked := bytes.HasPrefix(head, littleEndian) || bytes.HasPrefix(head, bigEndian); isMarked || isUTF16(head) {
		p.isText, p.width = true, 2
		if isMarked {
			p.began = p.width
		}
	}
	if p.log = newGitLog(withoutMark(head)); p.log != nil {
		p.isText = true // with --text it has binary files in it
	} else {
		p.hasDiff = hasDiff(withoutMark(head))
	}
	return p
}

// isUTF16 reports whether a text without a mark is ASCII for the most part, in UTF-16: its zero bytes are all in even places, or all in
// odd ones, and at least a third of it.
func isUTF16(head []byte) bool {
	var zeros [2]int
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	return zeros[0]+zeros[1] > 0 && min(zeros[0], zeros[1]) == 0 && 3*max(zeros[0], zeros[1]) >= len(head)
}

// withoutMark is the ASCII in a text that may be in UTF-16.
func withoutMark(text []byte) []byte {
	text = bytes.TrimPrefix(bytes.TrimPrefix(text, littleEndian), bigEndian)
	if bytes.IndexByte(text, 0) < 0 {
		return text
	}
	return bytes.ReplaceAll(text, []byte{0}, nil)
}

func (p *place) count(data []byte, to int) {
	if to <= p.seen {
		return
	}
	passed := data[p.seen:to]
	p.line += bytes.Count(passed, []byte{'\n'})
	if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
		p.began = p.chunk + int64(p.seen+i) + 1
	}
	if p.log != nil {
		p.log.follow(withoutMark(passed))
	}
	p.seen = to
}

// mark notes where a hit is.
func (p *place) mark(data []byte, h hit) Match {
	m := Match{Key: h.key, Encoded: h.encoded, Offset: p.chunk + int64(h.at), IsInOtherHistory: p.hasDiff}
	if p.isText {
		p.count(data, h.at)
	}
	if p.isText {
		m.Line, m.Column = p.line, int((m.Offset-p.began)/p.width)+1
	}
	if p.log != nil {
		m.Commit, m.File = p.log.commit, p.log.file
	}
	return m
}

// leave goes on with the piece that begins at next; what is before whole has been searched.
func (p *place) leave(data []byte, whole, next int) {
	if p.isText {
		p.count(data, whole)
	}
	p.chunk, p.seen = p.chunk+int64(next), whole-next
}
