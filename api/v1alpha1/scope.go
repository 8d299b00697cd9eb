// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "strings"

// The rule on the type is about characters only. It also holds for records, which must accept every scope of an existing
// key. Fields that users write have a second rule, which rejects empty segments.

// Scope is a permission of a key, such as conversations.read, or a pattern. "*" covers every scope; "conversations.*"
// covers every scope that begins with "conversations.".
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9._:-]+|([a-z0-9._:-]+[.])?[*])$')",message="a scope consists of a-z, 0-9 and . _ : - (such as conversations.read); * stands alone or as the last segment (conversations.*)"
type Scope string

const (
	// MaxScopeLength is the largest length of a Scope in bytes.
	MaxScopeLength = 64
	// MaxScopes is the largest number of scopes of one key.
	MaxScopes = 32

	anyScope      = "*"
	patternSuffix = "." + anyScope
)

// Covers reports whether a key with the scope or pattern s has the permission other. A pattern does not cover the name
// before its dot: "a.*" covers "a.b" and "a.b.*", not "a". No scope covers the empty scope. A pattern without a name
// before the dot (".*") covers only itself. Covers allocates nothing, because verifiers call it for each request.
//
// It is the only implementation of this rule. Verifiers, environments and the kubectl plugin use it, so they always agree.
func (s Scope) Covers(other Scope) bool {
	if other == "" {
		return false
	}
	if s == anyScope || s == other {
		return true
	}
	name, isPattern := strings.CutSuffix(string(s), patternSuffix)
	return isPattern && name != "" &&
		len(other) > len(name)+1 && other[len(name)] == '.' && string(other[:len(name)]) == name
}

// IsValid reports whether s has the form of a scope or of a pattern, which the API server enforces.
func (s Scope) IsValid() bool {
	name, isPattern := strings.CutSuffix(string(s), patternSuffix)
	return s == anyScope || s.IsConcrete() || isPattern && len(s) <= MaxScopeLength && Scope(name).IsConcrete()
}

// IsConcrete reports whether s has the form of a scope and is not a pattern. Clients can ask a verifier only for concrete
// scopes.
func (s Scope) IsConcrete() bool {
	if len(s) == 0 || len(s) > MaxScopeLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("._:-", c) < 0 {
			return false
		}
	}
	return true
}
