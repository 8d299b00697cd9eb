// SPDX-License-Identifier: Apache-2.0

package apikey

// Form is the regular expression of a key text, without the checksum, which no regular expression can check. It keeps to
// what RE2 (Go, CEL, gitleaks) and Hyperscan (GitHub) have in common.
const Form = `dgbot_[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}`

// InText finds keys in a text by others: its first group is Form. A further character of the alphabet makes it something
// else; what stands before it does not, because that may be an escaped line break or a percent-encoded character.
const InText = `(` + Form + `)(?:[^0-9A-Za-z]|$)`
