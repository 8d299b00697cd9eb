// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"unicode"
)

// maxMessage is how many bytes the API server takes as an event's note.
const maxMessage = 1024

// Truncate keeps a message within maxMessage.
func Truncate(message string) string { return truncateTo(message, maxMessage) }

// isInvisible reports whether a character has no shape of its own, by class: a list is out of date with the next version of Unicode.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// truncateTo puts a message on one line, and cuts one that has more than a number of bytes. Messages quote webhooks, policies and
// quotas; "kubectl describe" prints a condition as it is, so that a line break would begin a line of its own.
func truncateTo(message string, most int) string {
	const ellipsis = "…"
	message = strings.Join(strings.FieldsFunc(message, isInvisible), " ")
	if len(message) <= most {
		return message
	}
	cut := max(most-len(ellipsis), 0)
	for cut > 0 && message[cut]&0xC0 == 0x80 {
		cut--
	}
	return message[:cut] + ellipsis
}
