// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"fmt"
	"regexp"
	"strings"
)

// shape matches a key text in other text, complete or cut, with any checksum. The match is at most as long as the longest key, so that
// keys without a separator between them are masked one by one.
var shape = regexp.MustCompile(fmt.Sprintf(`(%s)%s{1,%d}`, publicForm, base62, secretLength+checksumLength))

// Redact masks every key in a text by others: an error, a line of a log.
func Redact(text string) string { return shape.ReplaceAllString(text, "${1}…") }

// encoded matches what a key may look like after it was encoded, cut or broken over lines: a long run of characters that encodings use, a
// list of bytes, or a text spelled out letter by letter.
// The masked form comes first, so that it stays unchanged.
var encoded = regexp.MustCompile(publicForm + `…|[0-9A-Za-z+/=_\\%]{20,}|\b(?:[0-9A-Fa-fx\\]{2,5}[ ,:]+){7,}[0-9A-Fa-fx\\]{2,5}|\b(?:[0-9A-Za-z+/=_-]{1,2}[ ,:.]+){11,}[0-9A-Za-z+/=_-]{1,2}\b`)

// word reports whether a run without a digit is a name, such as MutatingAdmissionPolicyBinding: lower case, or capitals that are at least
// seven characters apart. One in a thousand halves of keys looks like that.
func word(run string) bool {
	const longest, apart = 40, 7
	humps := 0
	for i := 1; i < len(run); i++ {
		if run[i] >= 'A' && run[i] <= 'Z' && (run[i-1] < 'A' || run[i-1] > 'Z') {
			humps++
		}
	}
	return len(run) <= longest && humps <= len(run)/apart && !strings.ContainsAny(run, "0123456789")
}

// RedactEncoded masks everything that may be an encoded key, in a text by a program that has seen one. It masks more than keys: its
// results are messages for people, which stay readable without these parts.
func RedactEncoded(text string) string {
	return encoded.ReplaceAllStringFunc(Redact(text), func(run string) string {
		if strings.HasSuffix(run, "…") || word(run) {
			return run
		}
		return "…"
	})
}
