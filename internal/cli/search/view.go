// SPDX-License-Identifier: Apache-2.0

package search

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"sort"
	"strings"

	"dgbot.io/key-operator/internal/apikey"
)

// view is a text that keys are looked for in: the source itself, or what an encoding of it stands for. Every encoding is one function
// from view to view, so that encodings in encodings need no rule of their own.
type view struct {
	text []byte
	// origin maps a position in text to the position in the source.
	origin func(int) int
	// isJoined reports whether the source has a line break, which text leaves out, in front of a position in text.
	isJoined func(int) bool
}

// sourceView is the view of the source itself.
func sourceView(text []byte) view {
	return view{text: text, origin: func(at int) int { return at }, isJoined: func(int) bool { return false }}
}

// piece is a part of a derived text that is contiguous in the text it is derived from. It ends where the next piece begins.
type piece struct {
	// at is where it begins in the derived text, from where in the other one. There may be one for every byte of a chunk.
	at, from int32
	// joined: a line break was left out in front of it.
	joined bool
}

// derive returns the view of a text that consists of pieces of v. The first piece begins at 0.
func (v view) derive(text []byte, pieces []piece) view {
	find := func(at int) piece {
		return pieces[sort.Search(len(pieces), func(i int) bool { return int(pieces[i].at) > at })-1]
	}
	return view{
		text:   text,
		origin: func(at int) int { p := find(at); return v.origin(at + int(p.from-p.at)) },
		isJoined: func(at int) bool {
			p := find(at)
			return int(p.at) == at && p.joined || v.isJoined(at+int(p.from-p.at))
		},
	}
}

// hit is a key in a view; at is its position in the source.
type hit struct {
	at  int
	key apikey.Key
	// encoded: it is in base64.
	encoded bool
}

// buffers hold what the views of one layer are made of, for the next piece of a file.
type buffers struct {
	withoutNULs, unfolded, run, decoded []byte
	narrow, folds                       []piece
}

// views looks for keys in a text and in all that it encodes. The zero value is ready for use.
type views struct{ buffers [layers + 1]buffers }

// layers is how many layers of base64 are decoded: two are what a Secret has that holds basic credentials. More would let a small
// file cost much time.
const layers = 2

// keys finds the keys in a view and in what it encodes. A key that is found in several ways is reported several times, with the same
// position.
func (s *views) keys(v view, inDiff bool, depth int, found func(hit)) {
	b := &s.buffers[depth]
	report := func(at int, key apikey.Key) { found(hit{at: at, key: key, encoded: depth < layers}) }
	v.plainKeys(report)
	// An escape may swallow what stands in front of a key, as in "=3dgbot_": therefore both views are searched.
	unfolded := v.leaveOutNULs(b).unfold(b, inDiff)
	unfolded.plainKeys(report)
	if depth == 0 {
		return
	}
	encodedRuns(unfolded.text, func(begin, end int) {
		// What stands in front of the key in the same run shifts its bytes, so every alignment is tried.
		for shift := range groupLength {
			s.keys(unfolded.decode(b, begin+shift, end), false, depth-1, found)
		}
	})
}

var (
	prefix  = []byte(apikey.Prefix)
	keyForm = regexp.MustCompile(`^` + apikey.Form)
)

// plainKeys finds the keys that stand in the text as they are.
func (v view) plainKeys(found func(at int, key apikey.Key)) {
	for at := 0; ; {
		n := bytes.Index(v.text[at:], prefix)
		if n < 0 {
			return
		}
		at += n
		length := len(keyForm.Find(v.text[at:min(len(v.text), at+apikey.MaxLength)]))
		if length == 0 || v.goesOn(at+length) {
			at++
			continue
		}
		key, err := apikey.Parse(string(v.text[at : at+length]))
		if err != nil {
			at++
			continue
		}
		found(v.origin(at), key)
		at += length
	}
}

// goesOn reports whether a further character of the alphabet follows, which makes what stands before it something else. What follows
// on the next line does not belong to it.
func (v view) goesOn(at int) bool {
	return at < len(v.text) && isAlphanumeric(v.text[at]) && !v.isJoined(at)
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// leaveOutNULs leaves out zero bytes. What is left of UTF-16 and UTF-32 in either order of bytes, with and without a byte order mark,
// is ASCII.
func (v view) leaveOutNULs(b *buffers) view {
	if bytes.IndexByte(v.text, 0) < 0 {
		return v
	}
	text := v.text
	out, pieces := b.withoutNULs[:0], b.narrow[:0]
	pieces = append(pieces, piece{})
	for i := 0; i < len(text); {
		if text[i] == 0 {
			i++
			continue
		}
		from := i
		for i < len(text) && text[i] != 0 {
			i++
		}
		pieces = next(pieces, piece{at: int32(len(out)), from: int32(from)}) //nolint:gosec // a text is not longer than a chunk
		out = append(out, text[from:i]...)
	}
	b.withoutNULs, b.narrow = out, pieces
	return v.derive(out, pieces)
}

// next appends a piece, in place of one that has turned out to be empty.
func next(pieces []piece, p piece) []piece {
	if last := &pieces[len(pieces)-1]; last.at == p.at {
		p.joined = p.joined || last.joined
		*last = p
		return pieces
	}
	return append(pieces, p)
}

// unfold takes out line breaks, with the margins that belong to them, and the control sequences of terminals. It replaces escapes by the
// characters they stand for.
func (v view) unfold(b *buffers, inDiff bool) view {
	text := v.text
	out, pieces := b.unfolded[:0], b.folds[:0]
	pieces = append(pieces, piece{})
	for i := 0; i < len(text); {
		from := i
		for i < len(text) && !isFolding[text[i]] {
			i++
		}
		out = append(out, text[from:i]...)
		if i == len(text) {
			break
		}
		length := lineBreak(text[i:], inDiff)
		isBreak := length > 0
		if isBreak {
			out = withoutBlanks(out)
		} else if length = controlSequence(text[i:]); length == 0 {
			var char byte
			char, length = unescape(text[i:])
			out = append(out, char)
		}
		if i += length; length > 1 || isBreak {
			pieces = next(pieces, piece{at: int32(len(out)), from: int32(i), joined: isBreak}) //nolint:gosec // a text is not longer than a chunk
		}
	}
	b.unfolded, b.folds = out, pieces
	return v.derive(out, pieces)
}

// withoutBlanks leaves out the blanks at the end of a line.
func withoutBlanks(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	return line
}

const (
	// minRun is less than the base64 of the shortest key has.
	minRun = 90
	// groupLength is how many characters of base64 stand for groupBytes bytes.
	groupLength, groupBytes = 4, 3
)

// isBase64 are the characters of both alphabets.
var isBase64 = func() (table [256]bool) {
	for c := range table {
		table[c] = isAlphanumeric(byte(c)) || strings.IndexByte("+/-_", byte(c)) >= 0
	}
	return table
}()

// toStandard maps the alphabet for URLs to the usual one.
var toStandard = func() (table [256]byte) {
	for c := range table {
		table[c] = byte(c)
	}
	table['-'], table['_'] = '+', '/'
	return table
}()

// encodedRuns finds the runs of base64 that may hold a key. Of other texts it looks at few bytes: a run that is long enough covers one
// of every minRun.
func encodedRuns(text []byte, each func(begin, end int)) {
	for at, after := minRun-1, 0; at < len(text); {
		if !isBase64[text[at]] {
			at += minRun
			continue
		}
		begin, end := at, at+1
		for begin > after && isBase64[text[begin-1]] {
			begin--
		}
		for end < len(text) && isBase64[text[end]] {
			end++
		}
		if end-begin >= minRun {
			each(begin, end)
		}
		at, after = end+minRun, end
	}
}

// decode is the view of what a run of base64 stands for.
func (v view) decode(b *buffers, begin, end int) view {
	if (end-begin)%groupLength == 1 {
		end-- // it stands for less than a byte
	}
	b.run = slices.Grow(b.run[:0], end-begin)
	run := b.run[:end-begin]
	for i, c := range v.text[begin:end] {
		run[i] = toStandard[c]
	}
	length := base64.RawStdEncoding.DecodedLen(len(run))
	b.decoded = slices.Grow(b.decoded[:0], length)
	out := b.decoded[:length]
	n, _ := base64.RawStdEncoding.Decode(out, run) // it has no other characters and no other length
	first := func(at int) int { return begin + groupLength*(at/groupBytes) + at%groupBytes }
	return view{
		text:   out[:n],
		origin: func(at int) int { return v.origin(first(at)) },
		// A byte takes two characters. The break may be in front of either, as the first may belong to the byte before as well.
		isJoined: func(at int) bool {
			for q := first(at-1) + 2; q <= first(at)+1; q++ {
				if q < end && v.isJoined(q) {
					return true
				}
			}
			return false
		},
	}
}
