// SPDX-License-Identifier: Apache-2.0

package apikey

import "regexp"

// shape is what a key looks like in a text: also one that is cut off, or whose checksum is wrong.
var shape = regexp.MustCompile(`(dgbot_[a-z][a-z0-9-]{0,31}_[0-9A-Za-z]{12}_)[0-9A-Za-z]{1,49}`)

// Redact masks every key in a text by others: an error, a line of a log.
func Redact(text string) string { return shape.ReplaceAllString(text, "${1}…") }
