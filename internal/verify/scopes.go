// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"strings"

	"dgbot.io/key-operator/api/v1alpha1"
)

// maxScope is the length of the longest scope that a key can have.
const maxScope = 64

// joinScopes is how scopes are kept and sent: with a space between them, which none contains.
func joinScopes(scopes []v1alpha1.Scope) string {
	texts := make([]string, len(scopes))
	for i, scope := range scopes {
		texts[i] = string(scope)
	}
	return strings.Join(texts, " ")
}

// missing returns which of the required scopes are not granted by scopes as joinScopes returns them.
func missing(granted string, required []string) []string {
	var all []string
	for _, scope := range required {
		if !grants(granted, scope) {
			all = append(all, scope)
		}
	}
	return all
}

// grants: * grants everything, a.* grants everything under a. and not a itself, anything else itself.
func grants(granted, scope string) bool {
	if scope == "" {
		return false
	}
	for one := range strings.SplitSeq(granted, " ") {
		if one == scope || one == "*" {
			return true
		}
		if under, ok := strings.CutSuffix(one, "*"); ok && len(under) > 1 && len(scope) > len(under) && strings.HasPrefix(scope, under) {
			return true
		}
	}
	return false
}

// concrete says whether a scope is one that can be asked for: of the form that DGbotAPIKeys have, without *.
func concrete(scope string) bool {
	if len(scope) == 0 || len(scope) > maxScope {
		return false
	}
	for i := range len(scope) {
		c := scope[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("._:-", rune(c)) {
			return false
		}
	}
	return true
}

// splitScopes reads lists of scopes from headers, united: separated by spaces or commas. ok is false where one of them
// cannot be asked for.
func splitScopes(lists []string) (scopes []string, ok bool) {
	for _, list := range lists {
		for scope := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ' ' || r == ',' }) {
			if !concrete(scope) {
				return nil, false
			}
			scopes = append(scopes, scope)
		}
	}
	return scopes, true
}
