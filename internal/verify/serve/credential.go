// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"iter"
	"slices"
	"strings"

	"dgbot.io/key-operator/internal/apikey"
)

// maxCredential is the largest length of a credential in bytes. Longer ones are rejected unread.
const maxCredential = 128

// The build fails here if a key text can be longer than maxCredential: verifiers would reject such keys.
const _ = uint(maxCredential - apikey.MaxLength)

const bearer = "bearer "

// credential is the text that a request presents as its key, and the headers that contain it.
type credential struct {
	text                      string
	inAuthorization, inAPIKey bool
}

// findCredential finds the key in the values of the Authorization and X-API-Key headers. A value may be a list, separated by
// commas: proxies, and Envoy over gRPC, join repeated headers in this way, and no key contains a comma. The result is the same
// for repeated headers and for joined ones. It is empty if the request has two different credentials, because a service
// behind the gateway may read the other one. A text that is no key is returned as well, and rejected later.
func findCredential(authorization, apiKey []string) (found credential) {
	for value := range elements(apiKey) {
		if found.inAPIKey && found.text != value {
			return credential{}
		}
		found.text, found.inAPIKey = value, true
	}
	for value := range elements(authorization) {
		text, ok := bearerToken(value)
		if strings.HasPrefix(value, apikey.Prefix) {
			return credential{} // a key without a scheme: the rest of a list whose first element is another key
		}
		if found.inAPIKey && (!ok || !strings.HasPrefix(text, apikey.Prefix)) {
			continue // a credential of another system beside a key in X-API-Key
		}
		if !ok || found.text != "" && found.text != text {
			return credential{}
		}
		found.text, found.inAuthorization = text, true
	}
	if len(found.text) > maxCredential {
		return credential{}
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
	if len(authorization) <= len(bearer) || !equalFold(authorization[:len(bearer)], bearer) {
		return "", false
	}
	return authorization[len(bearer):], true
}

// headersToRemove returns the names of the headers that must not reach the service behind the gateway: those that contain the key, those
// that the service could mistake for a header of set, and those of set without a value. Envoy does not set a header without a value, so the
// client's header would stay; Envoy removes headers last. names are the names of the request's headers. The result is sorted and in lower
// case.
func headersToRemove(names iter.Seq[string], c credential, set []header) []string {
	var remove []string
	for _, h := range set {
		if h.value == "" {
			remove = append(remove, lower(h.name))
		}
	}
	for name := range names {
		switch {
		case equalFold(name, "authorization") && c.inAuthorization, equalFold(name, keyHeader) && c.inAPIKey:
		case !resemblesOurs(name), slices.ContainsFunc(set, func(h header) bool { return equalFold(name, h.name) }):
			// The headers of set are overwritten.
			continue
		}
		remove = append(remove, lower(name))
	}
	slices.Sort(remove)
	return slices.Compact(remove)
}

// resemblesOurs reports whether a header's name begins with x-dgbot- for a service that ignores case and reads each character other than
// letters and digits as "-", as CGI and its successors do. Most names differ in their first letter.
func resemblesOurs(name string) bool {
	const begin = "x-dgbot-"
	if len(name) < len(begin) {
		return false
	}
	for i := range len(begin) {
		c := lowerByte(name[i])
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			c = '-'
		}
		if c != begin[i] {
			return false
		}
	}
	return true
}

// haveValidNames reports whether the names of a request's headers consist of visible ASCII characters, as those of HTTP do. The name of
// a pseudo header begins with ":". The case of other characters is not defined: a service may read U+212A, the Kelvin sign, as a k.
func haveValidNames(names iter.Seq[string]) bool {
	for name := range names {
		for i := range len(name) {
			if name[i] <= ' ' || name[i] > '~' {
				return false
			}
		}
	}
	return true
}

// equalFold reports whether two names are equal except for the case of ASCII letters. strings.EqualFold also equates ASCII letters with some
// other letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

// lower returns a name with its ASCII letters in lower case.
func lower(name string) string {
	lowered := []byte(name)
	for i, c := range lowered {
		lowered[i] = lowerByte(c)
	}
	return string(lowered)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
