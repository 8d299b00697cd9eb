// SPDX-License-Identifier: Apache-2.0

package apikey

import "fmt"

// base62 is the class of the characters of an ID, a secret and a checksum.
const base62 = `[0-9A-Za-z]`

// publicForm is the regular expression of the public parts of a key text, up to the last "_". Every expression here consists of it and of
// the lengths that Parse checks, so that a change of the form reaches all of them.
var publicForm = fmt.Sprintf(`%s[a-z](?:[a-z0-9-]{0,%d}[a-z0-9])?_%s{%d}_`, Prefix, maxEnvironment-2, base62, IDLength)

// Form is the regular expression of a key text, without the checksum, which no regular expression can check. It keeps to
// what RE2 (Go, CEL, gitleaks) and Hyperscan (GitHub) have in common.
var Form = publicForm + fmt.Sprintf(`%s{%d}`, base62, secretLength+checksumLength)

// InText finds keys in a text by others: its first group is Form. A text with a further character of the alphabet behind it is not a key.
// A character before it does not matter: it may be part of an escaped line break or of a percent-encoded character.
var InText = `(` + Form + `)(?:[^0-9A-Za-z]|$)`
