// SPDX-License-Identifier: Apache-2.0

package search

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"mime/quotedprintable"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/cli/clitest"
)

func utf32Of(order binary.AppendByteOrder, text string) string {
	var out []byte
	for _, r := range text {
		out = order.AppendUint32(out, uint32(r))
	}
	return string(out)
}

func quotedPrintable(text string) string {
	var out strings.Builder
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

// eachByte writes every byte of a text in a format.
func eachByte(format, text string) string {
	var out strings.Builder
	for _, c := range []byte(text) {
		_, _ = fmt.Fprintf(&out, format, c)
	}
	return out.String()
}

var standard, forURLs = base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString

// encodings are the ways in which a key may stand in a file, with what stands in front of it and behind it in the same text.
var encodings = map[string]func(before, key, after string) string{
	"plain":          func(b, k, a string) string { return b + k + a },
	"base64":         func(b, k, a string) string { return standard([]byte(b + k + a)) },
	"base64 for URL": func(b, k, a string) string { return forURLs([]byte(b + k + a)) },
	"base64 over 64 columns": func(b, k, a string) string {
		return clitest.Wrapped(standard([]byte(b+k+a)), 64, "\n")
	},
	"base64 over 76 columns, CR LF": func(b, k, a string) string { return clitest.Wrapped(standard([]byte(b+k+a)), 76, "\r\n") },
	"base64 over 3 columns":         func(b, k, a string) string { return clitest.Wrapped(standard([]byte(b+k+a)), 3, "\n") },
	"base64 in quoted mail":         func(b, k, a string) string { return "> " + clitest.Wrapped(standard([]byte(b+k+a)), 76, "\r\n> ") },
	"base64 in JSON, over lines":    func(b, k, a string) string { return `"` + clitest.Wrapped(standard([]byte(b+k+a)), 64, `\n`) + `\n"` },
	"base64 in YAML, indented": func(b, k, a string) string {
		return "data: |\n    " + clitest.Wrapped(standard([]byte(b+k+a)), 76, "\n    ")
	},
	"base64 for URL in a query": func(b, k, a string) string { return "?auth=" + url.QueryEscape(standard([]byte(b+k+a))) },
	"base64 of base64":          func(b, k, a string) string { return standard([]byte(`{"auth":"` + standard([]byte(b+k+a)) + `"}`)) },
	"base64 of UTF-16":          func(b, k, a string) string { return standard([]byte(clitest.UTF16(binary.LittleEndian, false, b+k+a))) },
	"base64 of percent-encoding": func(b, k, a string) string {
		return standard([]byte(url.QueryEscape(b) + strings.ReplaceAll(k, "_", "%5F") + a))
	},
	"base64 in UTF-16": func(b, k, a string) string {
		return clitest.UTF16(binary.LittleEndian, false, clitest.Wrapped(standard([]byte(b+k+a)), 76, "\r\n"))
	},
	"base64 in quoted-printable": func(b, k, a string) string { return quotedPrintable("key=" + standard([]byte(b+k+a))) },
	"UTF-16 LE":                  func(b, k, a string) string { return clitest.UTF16(binary.LittleEndian, false, b+k+a) },
	"UTF-16 BE":                  func(b, k, a string) string { return clitest.UTF16(binary.BigEndian, false, b+k+a) },
	"UTF-16 LE with a mark":      func(b, k, a string) string { return clitest.UTF16(binary.LittleEndian, true, b+k+a) },
	"UTF-16 BE with a mark":      func(b, k, a string) string { return clitest.UTF16(binary.BigEndian, true, b+k+a) },
	"UTF-32 LE":                  func(b, k, a string) string { return utf32Of(binary.LittleEndian, b+k+a) },
	"UTF-32 BE":                  func(b, k, a string) string { return utf32Of(binary.BigEndian, b+k+a) },
	"UTF-16 over lines": func(b, k, a string) string {
		return clitest.UTF16(binary.LittleEndian, false, clitest.Wrapped(b+k+a, 20, "\r\n"))
	},
	"quoted-printable":             func(b, k, a string) string { return quotedPrintable(strings.Repeat("x", 60) + " " + b + k + a) },
	"quoted-printable, LF":         func(b, k, a string) string { return clitest.Wrapped(b+k+a, 11, "=\n") },
	"quoted-printable with =5F":    func(b, k, a string) string { return b + strings.ReplaceAll(k, "_", "=5F") + a },
	"a header of mail":             func(b, k, a string) string { return "=?utf-8?Q?" + b + strings.ReplaceAll(k, "_", "=5F") + a + "?=" },
	"percent-encoding":             func(b, k, a string) string { return b + strings.ReplaceAll(k, "_", "%5F") + a },
	"percent-encoding, lower case": func(b, k, a string) string { return b + strings.ReplaceAll(k, "_", "%5f") + a },
	"percent-encoding of all":      func(b, k, a string) string { return eachByte("%%%02X", b+k+a) },
	"escapes of JSON":              func(b, k, a string) string { return b + strings.ReplaceAll(k, "_", `\u005f`) + a },
	"escapes of C":                 func(b, k, a string) string { return eachByte(`\x%02x`, b+k+a) },
	"HTML":                         func(b, k, a string) string { return b + strings.ReplaceAll(k, "_", "&#95;") + a },
	"HTML, hexadecimal":            func(b, k, a string) string { return eachByte("&#x%x;", b+k+a) },
	"over 64 columns":              func(b, k, a string) string { return clitest.Wrapped(b+k+a, 64, "\n") },
	"over 76 columns, CR LF":       func(b, k, a string) string { return clitest.Wrapped(b+k+a, 76, "\r\n") },
	"over 1 column":                func(b, k, a string) string { return clitest.Wrapped(b+k+a, 1, "\n") },
	"in quoted mail":               func(b, k, a string) string { return "> > " + clitest.Wrapped(b+k+a, 30, "\n> > ") },
	"in quoted mail, flowed":       func(b, k, a string) string { return ">> " + clitest.Wrapped(b+k+a, 30, " \r\n>> ") },
	"in a comment of a shell":      func(b, k, a string) string { return "# " + clitest.Wrapped(b+k+a, 30, "\n# ") },
	"in a comment of Go":           func(b, k, a string) string { return "// " + clitest.Wrapped(b+k+a, 30, "\n\t// ") },
	"over lines of a shell":        func(b, k, a string) string { return clitest.Wrapped(b+k+a, 30, "\\\n") },
	"in color by grep":             func(b, k, a string) string { return b + "\x1b[01;31m\x1b[K" + k[:9] + "\x1b[m\x1b[K" + k[9:] + a },
	"in color in JSON":             func(b, k, a string) string { return b + k[:9] + `\u001b[0m` + k[9:] + a },
	"over lines of JSON":           func(b, k, a string) string { return clitest.Wrapped(b+k+a, 30, `\r\n`) },
}

// TestSearch_FindsEveryEncoding in every alignment, alone and between others, and with other line breaks around it.
func TestSearch_FindsEveryEncoding(t *testing.T) {
	key, buffer := clitest.Mint(t, "my-env"), make([]byte, chunk)
	for name, encode := range encodings {
		for _, before := range []string{"", "k", "KEY=", "ok:", "user: ", "abcde,", `"`, "\u00fc ", "Authorization: Bearer "} {
			for _, after := range []string{"", "\n", "\" ", "\r\nnext line", "; and so on, for more than a line of any length that mail has"} {
				for _, around := range [][2]string{{"", ""}, {"\n", "\n"}, {"words, and\na line ", "\nAnd another line"}} {
					text := encode(before, key, after)
					if strings.Contains(text, "\x00") {
						around = [2]string{strings.Repeat("\x00", 4*len(around[0])), strings.Repeat("\x00", 4*len(around[1]))}
					}
					all := foundWith(t, strings.NewReader(around[0]+text+around[1]), buffer)
					if len(all) != 1 || all[0].Key.Reveal() != key {
						t.Errorf("%s, before %q, after %q, around %q: %d found", name, before, after, around, len(all))
					}
				}
			}
		}
	}
}

// TestSearch_FindsKeysWhereverChunksEnd puts every encoding at every place around the end of a chunk: one place at the end of each chunk of
// one long input.
func TestSearch_FindsKeysWhereverChunksEnd(t *testing.T) {
	// step is the distance between the ends of two chunks. It has to be longer than every text.
	const step, spare = 2 << 10, 8
	key, buffer := clitest.Mint(t, strings.Repeat("e", 32)), make([]byte, window+lead+step)
	for name, encode := range encodings {
		for shift := range 3 {
			if shift > 0 && !strings.Contains(name, "base64") {
				continue
			}
			text := " " + encode(strings.Repeat(":", shift), key, "\n") + " "
			if len(text)+2*spare > step {
				t.Fatalf("%s has %d bytes: raise step", name, len(text))
			}
			filler := []byte("0123456789 abcd\n")
			if strings.Contains(text, "\x00") {
				filler = make([]byte, 16)
			}
			var places []int
			for end := lead + step; len(places) <= len(text)+2*spare; end += step {
				places = append(places, end-len(text)-spare+len(places))
			}
			data := bytes.Repeat(filler, (places[len(places)-1]+2*window)/16)
			for _, at := range places {
				copy(data[at:], text)
			}
			all := foundWith(t, bytes.NewReader(data), buffer)
			if len(all) != len(places) {
				t.Errorf("%s, shifted by %d: %d found, want %d", name, shift, len(all), len(places))
				continue
			}
			for i, at := range places {
				if m := all[i]; m.Key.Reveal() != key || m.Offset < int64(at) || m.Offset > int64(at+len(text)) {
					t.Errorf("%s, shifted by %d, at %d: %+v", name, shift, at, m)
				}
			}
		}
	}
}

// TestSearch_ReportsThePlace as line, column and offset, in one chunk and in the next.
func TestSearch_ReportsThePlace(t *testing.T) {
	key := clitest.Mint(t, "production")
	for name, tc := range map[string]struct {
		text         string
		offset       int64
		line, column int
	}{
		"plain":          {"a\nKEY=" + key + "\n", 6, 2, 5},
		"base64":         {"a\nKEY: " + standard([]byte(key)), 7, 2, 6},
		"base64, later":  {"a\nKEY: " + standard([]byte("user:"+key)), 7 + 6, 2, 12},
		"over lines":     {"a\n\n" + clitest.Wrapped("x "+key, 5, "\n"), 5, 3, 3},
		"UTF-16 LE":      {clitest.UTF16(binary.LittleEndian, true, "a\r\nKEY="+key), 16, 2, 5},
		"UTF-16 BE":      {clitest.UTF16(binary.BigEndian, true, "a\r\nKEY="+key), 17, 2, 5},
		"UTF-16 LE bare": {clitest.UTF16(binary.LittleEndian, false, "KEY="+key), 8, 1, 5},
		"binary":         {"\x7fELF\x01\x00" + key, 6, 0, 0},
		"far away":       {strings.Repeat("0123456789 abcd\n", chunk/16) + "KEY=" + key, chunk + 4, chunk/16 + 1, 5},
	} {
		all := found(t, strings.NewReader(tc.text))
		if len(all) != 1 || all[0].Offset != tc.offset || all[0].Line != tc.line || all[0].Column != tc.column {
			t.Errorf("%s: %+v, want %+v", name, all, tc)
		}
	}
}

// TestSearch_FindsNothingElse in texts that look alike, in every encoding, and in the sources of Go.
func TestSearch_FindsNothingElse(t *testing.T) {
	key := clitest.Mint(t, "production")
	wrong := withWrongChecksum(key)
	for name, encode := range encodings {
		for what, text := range map[string]string{"a wrong checksum": wrong, "cut off": key[:len(key)-1], "in capitals": strings.ToUpper(key), "its end": key[2:]} {
			if all := found(t, strings.NewReader(encode("KEY=", text, " "))); len(all) > 0 {
				t.Errorf("%s, %s: %d found", name, what, len(all))
			}
		}
		if strings.Contains(name, "over") || strings.Contains(name, "mail") || strings.Contains(name, "comment") || strings.Contains(name, "LF") {
			continue // what follows on the next line is another word
		}
		if all := found(t, strings.NewReader(encode("KEY=", key+"x", " "))); len(all) > 0 && !strings.Contains(name, "printable") {
			t.Errorf("%s, one character more: %d found", name, len(all))
		}
	}
	files, buffer := 0, make([]byte, chunk)
	for _, folder := range []string{"encoding", "crypto", "net/http", "archive/zip", "html"} {
		err := filepath.WalkDir(filepath.Join(runtime.GOROOT(), "src", folder), func(path string, entry os.DirEntry, err error) error { //nolint:staticcheck // the sources are there where the tests are built
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			files++
			for _, m := range foundWith(t, bytes.NewReader(content), buffer) {
				t.Errorf("%s:%d: %s", path, m.Line, m.Key)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 300 {
		t.Errorf("only %d files of Go's sources were searched", files)
	}
}

// withWrongChecksum returns a key with another last character, whatever that is.
func withWrongChecksum(key string) string {
	if start, isZero := strings.CutSuffix(key, "0"); isZero {
		return start + "1"
	}
	return key[:len(key)-1] + "0"
}
