// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"regexp"
	"strings"

	"dgbot.io/key-operator/internal/apikey"
)

// match is a key in something that was searched.
type match struct {
	key apikey.Key
	// line and column count from 1, the column in bytes; both are 0 in what is no text. offset counts bytes from 0.
	line, column int
	offset       int64
	// encoded: it was the base64 of a key, as in the manifest of a Secret.
	encoded bool
}

const (
	// chunk is how much of a file is in memory.
	chunk = 256 << 10
	// window is more than a key takes, encoded or not, with the character behind it.
	window = 2 * apikey.MaxLength
	// sniffed is how much of a file says whether it is a text; Git does the same.
	sniffed = 8000
)

// How a key begins, and how its base64 does where a value begins with it.
var (
	plainPrefix   = []byte(apikey.Prefix)
	encodedPrefix = []byte(base64.StdEncoding.EncodeToString([]byte(apikey.Prefix)))

	plainKey   = regexp.MustCompile(`^` + apikey.InText)
	encodedRun = regexp.MustCompile(`^[0-9A-Za-z+/_-]+`)
	// brokenRun is base64 over several lines, as base64 and PEM write it, and YAML may.
	brokenRun = regexp.MustCompile(`^[0-9A-Za-z+/_-]+(?:\r?\n[ \t]*[0-9A-Za-z+/_-]+)+`)
	breaks    = strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "")
)

// search finds the keys with a right checksum in something of any length, and returns how long it is. Memory is for one chunk of it.
func search(in io.Reader, found func(match)) (size int64, err error) {
	buffer, filled := make([]byte, chunk), 0
	var position *place
	for {
		n, err := io.ReadFull(in, buffer[filled:])
		atEnd := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !atEnd {
			return size, err
		}
		filled += n
		data := buffer[:filled]
		if position == nil {
			position = &place{line: 1, isText: !bytes.Contains(data[:min(len(data), sniffed)], []byte{0})}
		}
		// What begins behind this may go on in the next chunk.
		whole := len(data)
		if !atEnd {
			whole -= window
		}
		next := keysIn(data, whole, func(at int, m match) {
			position.mark(data, at, &m)
			found(m)
		})
		if atEnd {
			return size + int64(len(data)), nil
		}
		position.leave(data, next)
		size += int64(next)
		filled = copy(buffer, data[next:])
	}
}

// place is where in a text a search is.
type place struct {
	isText bool
	line   int
	// began is where the line began, and chunk the piece of text that is looked at; seen is how far in that piece lines are counted.
	began, chunk int64
	seen         int
}

func (p *place) count(data []byte, to int) {
	passed := data[p.seen:to]
	p.line += bytes.Count(passed, []byte{'\n'})
	if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
		p.began = p.chunk + int64(p.seen+i) + 1
	}
	p.seen = to
}

// mark notes where a match is.
func (p *place) mark(data []byte, at int, m *match) {
	m.offset = p.chunk + int64(at)
	if p.isText {
		p.count(data, at)
		m.line, m.column = p.line, int(m.offset-p.began)+1
	}
}

// leave goes on with the piece that begins there.
func (p *place) leave(data []byte, next int) {
	p.count(data, next)
	p.chunk, p.seen = p.chunk+int64(next), 0
}

// keysIn finds the keys that begin before a place, in their order, and returns from where the next chunk goes on.
func keysIn(data []byte, before int, found func(at int, m match)) (next int) {
	candidates := []struct {
		prefix []byte
		at     int
	}{{plainPrefix, -1}, {encodedPrefix, -1}}
	for at := 0; ; {
		begin := before
		for i := range candidates {
			c := &candidates[i]
			if c.at < at {
				c.at = before
				if n := bytes.Index(data[at:], c.prefix); n >= 0 {
					c.at = at + n
				}
			}
			begin = min(begin, c.at)
		}
		if begin >= before {
			return max(at, before)
		}
		m, length := keyAt(data[begin:min(len(data), begin+window)])
		if length == 0 {
			at = begin + 1
			continue
		}
		found(begin, m)
		at = begin + length
	}
}

// keyAt reads the key that a text begins with, and how much of it that is; 0 where it begins with none.
func keyAt(text []byte) (m match, length int) {
	if bytes.HasPrefix(text, encodedPrefix) {
		run := encodedRun.Find(text)
		for _, encoded := range [][]byte{run, []byte(breaks.Replace(string(brokenRun.Find(text))))} {
			if m, n := keyAt(decode(encoded)); n > 0 {
				m.encoded = true
				return m, len(run)
			}
		}
		return match{}, 0
	}
	at := plainKey.FindSubmatchIndex(text)
	if at == nil {
		return match{}, 0
	}
	key, err := apikey.Parse(string(text[:at[3]]))
	if err != nil {
		return match{}, 0
	}
	return match{key: key}, at[3]
}

// decode reads base64 of either alphabet, as far as it is whole.
func decode(run []byte) []byte {
	run = bytes.ReplaceAll(bytes.ReplaceAll(run, []byte{'-'}, []byte{'+'}), []byte{'_'}, []byte{'/'})
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(run)))
	n, _ := base64.RawStdEncoding.Decode(out, run) // what comes behind an error is no key
	return out[:n]
}
