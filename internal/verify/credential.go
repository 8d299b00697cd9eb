// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"iter"
	"slices"
	"strings"

	"dgbot.io/key-operator/internal/apikey"
)

// maxCredential is the largest number of bytes of a credential that is read; longer ones are rejected unread.
const maxCredential = 128

// The build fails here if a key text can be longer than maxCredential: verifiers would reject such keys.
const _ = uint(maxCredential - apikey.MaxLength)

const bearer = "bearer "

// carried is a credential and where it came from.
type carried struct {
	text string
	// in Authorization, in X-API-Key, or in both.
	inAuthorization, inAPIKey bool
}

// credential finds the key in the values of the Authorization and X-API-Key headers. A value may be a list, separated by
// commas: proxies, and Envoy over gRPC, join repeated headers in this way, and no key contains a comma. The result is the
// same for repeated headers and for one that was joined. It is empty where the request carries two different credentials,
// because a service behind the gateway may read the other one. A text that is no key is returned as well, to be rejected.
func credential(authorization, apiKey []string) (found carried) {
	for value := range elements(apiKey) {
		if found.inAPIKey && found.text != value {
			return carried{}
		}
		found.text, found.inAPIKey = value, true
	}
	for value := range elements(authorization) {
		text, ok := bearerToken(value)
		if strings.HasPrefix(value, apikey.Prefix) {
			return carried{} // a key without a scheme: the rest of a list whose first element is another key
		}
		if found.inAPIKey && (!ok || !strings.HasPrefix(text, apikey.Prefix)) {
			continue // a credential of another system beside a key in X-API-Key
		}
		if !ok || found.text != "" && found.text != text {
			return carried{}
		}
		found.text, found.inAuthorization = text, true
	}
	if len(found.text) > maxCredential {
		return carried{}
	}
	return found
}

// elements yields the elements of lists that are separated by commas, without surrounding spaces and tabs. Empty elements
// are left out, as RFC 9110 section 5.6.1 requires of recipients.
func elements(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, value := range values {
			for element := range strings.SplitSeq(value, ",") {
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// bearerToken returns what follows the scheme and one space.
func bearerToken(authorization string) (token string, ok bool) {
	if len(authorization) <= len(bearer) || !strings.EqualFold(authorization[:len(bearer)], bearer) {
		return "", false
	}
	return authorization[len(bearer):], true
}

// headersToRemove names the headers that must not reach a service behind: those that carried the key, and any that could be
// taken for one that is set here, with "_" for "-", as CGI and its successors do. names are those of the request; the list
// is sorted and in lower case.
func headersToRemove(names iter.Seq[string], c carried) []string {
	var remove []string
	for name := range names {
		switch {
		case strings.EqualFold(name, "authorization") && c.inAuthorization, strings.EqualFold(name, keyHeader) && c.inAPIKey:
		case !resemblesOurs(name), slices.ContainsFunc(ours[:], func(our string) bool { return strings.EqualFold(name, our) }):
			// Ours are overwritten; Envoy removes last.
			continue
		}
		remove = append(remove, strings.ToLower(name))
	}
	slices.Sort(remove)
	return slices.Compact(remove)
}

var ours = [...]string{keyIDHeader, environmentHeader, chatbotIDHeader, scopesHeader}

// resemblesOurs says whether a header's name begins as those do that are set here, for somebody who reads "_" as "-" and
// minds no case. Most names differ in their first letter, and cost nothing.
func resemblesOurs(name string) bool {
	const begin = "x-dgbot-"
	if len(name) < len(begin) {
		return false
	}
	for i := range len(begin) {
		c := name[i]
		switch {
		case c == '_':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if c != begin[i] {
			return false
		}
	}
	return true
}
