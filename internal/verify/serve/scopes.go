// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"strings"

	"dgbot.io/key-operator/api/v1alpha1"
)

// missing returns the required scopes that granted ones, separated by spaces, do not cover.
func missing(granted string, required []string) []string {
	var all []string
	for _, scope := range required {
		if !grants(granted, scope) {
			all = append(all, scope)
		}
	}
	return all
}

// grants reports whether one of the granted scopes, separated by spaces, covers a scope.
func grants(granted, scope string) bool {
	for one := range strings.SplitSeq(granted, " ") {
		if v1alpha1.Scope(one).Covers(v1alpha1.Scope(scope)) {
			return true
		}
	}
	return false
}

// splitScopes returns the scopes of all lists, in which spaces or commas separate them. ok is false if one of them cannot be
// required.
func splitScopes(lists []string) (scopes []string, ok bool) {
	for _, list := range lists {
		for scope := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ' ' || r == ',' }) {
			if !v1alpha1.Scope(scope).IsConcrete() {
				return nil, false
			}
			scopes = append(scopes, scope)
		}
	}
	return scopes, true
}
