// SPDX-License-Identifier: Apache-2.0

package search

import (
	"bytes"
	"strings"
)

// isFolding are the characters that line breaks and escapes begin with.
var isFolding = [256]bool{'\n': true, '\r': true, '=': true, '%': true, '\\': true, '&': true, escapeCharacter: true}

// lineBreak returns the length of the line break that a text begins with, and of the margin of the next line; 0 where it begins with
// none. Among line breaks are those that a sign hides: '=' in quoted-printable, '\' in a shell, and those that JSON writes as \n.
func lineBreak(text []byte, inDiff bool) int {
	length := 0
	if text[0] == '=' || text[0] == '\\' {
		length = 1
	}
	switch {
	case length == len(text):
		return 0
	case text[length] == '\n':
		length++
	case text[length] == '\r':
		if length++; length < len(text) && text[length] == '\n' {
			length++
		}
	case text[0] != '\\':
		return 0
	case bytes.HasPrefix(text, []byte(`\r\n`)):
		return 4 + margin(text[4:])
	case text[1] == 'n':
		return 2 + margin(text[2:])
	default:
		return 0
	}
	if inDiff {
		// In the output of git log --graph and --color, the sign has a margin of its own.
		if sign := length + margin(text[length:]); sign < len(text) && (text[sign] == '+' || text[sign] == '-') {
			length = sign + 1
		}
	}
	return length + margin(text[length:])
}

// margin returns the length of what may stand in front of each line of a wrapped text: indentation, colours, the signs of quoted mail,
// of comments and of tables. A sign that a key or base64 has as well counts only with a blank behind it.
func margin(text []byte) int {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ', c == '\t', c == '>', c == '|', c == '#', c == '*', c == ';':
			i++
		case (c == '/' || c == '-') && i+2 < len(text) && text[i+1] == c && text[i+2] == ' ':
			i += 3
		case c == escapeCharacter && controlSequence(text[i:]) > 0:
			i += controlSequence(text[i:])
		default:
			return i
		}
	}
	return len(text)
}

// escapeCharacter begins the control sequences of terminals.
const escapeCharacter = 0x1b

// introducers begin a control sequence: as a terminal gets it, and as programs write it into strings.
var introducers = [][]byte{[]byte("\x1b["), []byte(`\u001b[`), []byte(`\x1b[`), []byte(`\033[`), []byte(`\e[`)}

// controlSequence returns the length of the control sequence that a text begins with; 0 if it begins with none. Colours are such sequences:
// grep --color puts them around a part of a key.
func controlSequence(text []byte) int {
	if text[0] != escapeCharacter && text[0] != '\\' {
		return 0
	}
	for _, introducer := range introducers {
		if !bytes.HasPrefix(text, introducer) {
			continue
		}
		for i := len(introducer); i < len(text); i++ {
			switch c := text[i]; {
			case 0x40 <= c && c <= 0x7e:
				return i + 1 // the final byte
			case c < 0x20 || c > 0x3f:
				return 0
			}
		}
	}
	return 0
}

// unescape returns the first character of a text, and how many bytes stand for it. Only characters of keys and of base64 count as
// escaped: in "=3Ddgbot_" the key is what follows.
func unescape(text []byte) (char byte, length int) {
	code := -1
	switch text[0] {
	case '=', '%':
		code, length = number(text, 1, 3, 16), 3
	case '\\':
		switch {
		case bytes.HasPrefix(text, []byte(`\x`)):
			code, length = number(text, 2, 4, 16), 4
		case bytes.HasPrefix(text, []byte(`\u00`)):
			code, length = number(text, 4, 6, 16), 6
		}
	case '&':
		if !bytes.HasPrefix(text, []byte("&#")) {
			break
		}
		end := bytes.IndexByte(text[:min(len(text), len("&#x005F;"))], ';')
		if length = end + 1; end > 2 && text[2]|' ' == 'x' {
			code = number(text, 3, end, 16)
		} else {
			code = number(text, 2, end, 10)
		}
	}
	if code < 0 || code > 0xff || !isBase64[code] {
		return text[0], 1
	}
	return byte(code), length
}

// number returns what the digits in a part of a text stand for; -1 where there are others, or none.
func number(text []byte, from, end, base int) int {
	if from >= end || end > len(text) {
		return -1
	}
	value := 0
	for _, c := range text[from:end] {
		digit := int(digitValue[c])
		if digit < 0 || digit >= base {
			return -1
		}
		value = value*base + digit
	}
	return value
}

// digitValue is what a hexadecimal digit stands for; -1 for what is none.
var digitValue = func() (table [256]int8) {
	for c := range table {
		table[c] = int8(strings.IndexByte("0123456789abcdef", byte(c)))
		if table[c] < 0 {
			table[c] = int8(strings.IndexByte("0123456789ABCDEF", byte(c)))
		}
	}
	return table
}()
