// SPDX-License-Identifier: Apache-2.0

// Package apikey is the text of DGbot's API keys: how one is drawn, read, hashed and masked. The form is
//
//	dgbot_<environment>_<id>_<secret><checksum>
//
// with an environment name, 12 base62 characters of public random id, 43 base62 characters of secret (more than
// 256 bits) and a CRC-32 (IEEE) of everything before it as 6 base62 characters. No part contains "_". The checksum
// lets scanners and verifiers drop junk without a look-up; it protects nothing. docs/key-format.md is the
// specification, testdata/vectors.json its test vectors.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unsafe"
)

const (
	// Prefix begins every key text.
	Prefix = "dgbot_"
	// MaxLength is the length of the longest key text in bytes.
	MaxLength = len(Prefix) + maxEnvironment + 1 + IDLength + 1 + secretLength + checksumLength

	// IDLength is the length of a key's ID in bytes.
	IDLength = 12

	hashPrefix = "sha256:"

	maxEnvironment = 32
	secretLength   = 43
	checksumLength = 6

	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// ErrMalformed means that a text is not a key text. It has no detail on purpose: the text may be a key with a typing error, which must not
// appear in an error message.
var ErrMalformed = errors.New("not a DGbot API key: wrong form or checksum")

// Key is a key in plaintext. Printed, formatted, marshaled or logged, it shows only dgbot_<environment>_<id>_…; only Reveal returns the
// plaintext. The zero Key holds no key and prints as such.
type Key struct {
	// A function instead of a string: reflection-based printers and encoders that ignore every interface print an
	// address, not the key.
	text        func() string
	environment string
	id          string
}

// Mint draws a new key for the environment from the operating system's generator. It returns an error if the environment's name is not of
// the form [a-z]([a-z0-9-]{0,30}[a-z0-9])?.
func Mint(environment string) (Key, error) {
	return mintFrom(rand.Reader, environment)
}

func mintFrom(random io.Reader, environment string) (Key, error) {
	if !ValidEnvironment(environment) {
		return Key{}, fmt.Errorf("environment %q: want 1-%d lower-case letters, digits or inner hyphens, beginning with a letter", environment, maxEnvironment)
	}
	drawn, err := drawBase62(random, IDLength+secretLength)
	if err != nil {
		return Key{}, fmt.Errorf("drawing a key: %w", err)
	}
	body := Prefix + environment + "_" + drawn[:IDLength] + "_" + drawn[IDLength:]
	digits := checksum(body)
	return newKey(body+string(digits[:]), environment, drawn[:IDLength]), nil
}

// Parse reads a key text. The error is always ErrMalformed. Parse allocates nothing for a text that it rejects, because any client can
// send junk to a verifier.
func Parse(text string) (Key, error) {
	environment, id, ok := parts(text)
	if !ok {
		return Key{}, ErrMalformed
	}
	return newKey(text, environment, id), nil
}

// Fingerprint returns the environment that a key text names, the ID, by which a verifier looks it up, and the SHA-256, which it compares: the
// bytes that Hash prints. The error is that of Parse. It makes no Key, which would cost memory for each verification.
func Fingerprint(text string) (environment, id string, sum [sha256.Size]byte, err error) {
	environment, id, ok := parts(text)
	if !ok {
		return "", "", sum, ErrMalformed
	}
	return environment, id, sha256.Sum256(bytesOf(text)), nil
}

// parts returns the public parts of a key text. ok is false if the text is not a key text.
func parts(text string) (environment, id string, ok bool) {
	if len(text) > MaxLength || !strings.HasPrefix(text, Prefix) {
		return "", "", false
	}
	environment, rest, _ := strings.Cut(text[len(Prefix):], "_")
	id, tail, _ := strings.Cut(rest, "_")
	if !ValidEnvironment(environment) || len(id) != IDLength || len(tail) != secretLength+checksumLength || !isBase62(id) || !isBase62(tail) {
		return "", "", false
	}
	body := text[:len(text)-checksumLength]
	digits := checksum(body)
	return environment, id, string(digits[:]) == text[len(body):]
}

func newKey(text, environment, id string) Key {
	return Key{text: func() string { return text }, environment: environment, id: id}
}

// Reveal returns the plaintext. The caller may only publish it in the Secret or compare it.
func (k Key) Reveal() string {
	if k.text == nil {
		return ""
	}
	return k.text()
}

// ID returns the public part of the key, 12 base62 characters.
func (k Key) ID() string { return k.id }

// Environment returns the environment's name in the key text. It is a hint for users and scanners; the record decides.
func (k Key) Environment() string { return k.environment }

// Hash returns Hash of the key text.
func (k Key) Hash() string { return Hash([]byte(k.Reveal())) }

// ParseHash reads the result of Hash. It returns an error for any other text.
func ParseHash(hash string) (sum [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(hash, hashPrefix)
	if !ok || len(digits) != 2*len(sum) {
		return sum, fmt.Errorf("a hash of %d characters: want %s and %d hex digits", len(hash), hashPrefix, 2*len(sum))
	}
	_, err = hex.Decode(sum[:], []byte(digits))
	return sum, err
}

// Hash returns the SHA-256 of the exact bytes as "sha256:" and 64 lower-case hex digits. It takes any bytes, so that it can compare the
// content of a Secret that is not a key. It uses no salt and no slow hash: 256 random bits need neither.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hashPrefix + hex.EncodeToString(sum[:])
}

// bytesOf returns the bytes of a text in place; the caller must not change them. An ordinary conversion would copy them onto the heap for
// each verification.
func bytesOf(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text)) //nolint:gosec // only read
}

func checksum(body string) (digits [checksumLength]byte) {
	n := crc32.ChecksumIEEE(bytesOf(body))
	for i := checksumLength - 1; i >= 0; i-- {
		digits[i] = alphabet[n%62]
		n /= 62
	}
	return digits
}

// drawBase62 returns n characters, each of the 62 with equal probability. It discards bytes from 248 (4 times 62) on; folding them would
// favor the first characters of the alphabet.
func drawBase62(random io.Reader, n int) (string, error) {
	const limit = 256 - 256%len(alphabet)
	out := make([]byte, 0, n)
	buffer := make([]byte, n+n/4)
	for len(out) < n {
		if _, err := io.ReadFull(random, buffer); err != nil {
			return "", err
		}
		for _, b := range buffer {
			if int(b) < limit && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out), nil
}

// isBase62 checks every character in a table: with branches, a processor would mispredict on random text.
func isBase62(s string) bool {
	foreign := byte(0)
	for i := range len(s) {
		foreign |= notBase62[s[i]]
	}
	return foreign == 0
}

// notBase62 is 0 for the characters of the alphabet.
var notBase62 = func() (table [256]byte) {
	for c := range table {
		table[c] = 1
	}
	for _, c := range []byte(alphabet) {
		table[c] = 0
	}
	return table
}()

// ValidEnvironment reports whether a text can be the name of an environment: 1 to 32 letters a-z, digits and "-", beginning with a letter and not
// ending with "-".
func ValidEnvironment(s string) bool {
	if len(s) == 0 || len(s) > maxEnvironment || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
