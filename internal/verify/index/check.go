// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/subtle"
	"strings"
	"time"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// Identity describes an accepted key, as /v1/verify answers it.
type Identity struct {
	// UID is the UID of the DGbotAPIKey. It stays when the key is rotated; KeyID changes.
	UID         string   `json:"uid"`
	KeyID       string   `json:"keyID"`
	Environment string   `json:"environment"`
	ChatbotID   string   `json:"chatbotID,omitempty"`
	Label       string   `json:"label"`
	Scopes      []string `json:"scopes"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Revision    int64    `json:"revision"`
	// NotAfter is when the key expires; nil for a key without a time bound.
	NotAfter *time.Time `json:"notAfter,omitempty"`
}

// Reason is why a key or an identity is rejected. Only metrics contain it: clients do not learn the reason.
type Reason string

const (
	Malformed Reason = "malformed"
	Unknown   Reason = "unknown"
	// Wrong is the reason for a text that has the ID of a known key and another hash.
	Wrong    Reason = "wrong"
	Orphaned Reason = "orphaned"
	Revoked  Reason = "revoked"
	Disabled Reason = "disabled"
	Expired  Reason = "expired"
)

// KeyReasons are the reasons why a key is rejected, and IdentityReasons those why an identity is.
var (
	KeyReasons      = []Reason{Malformed, Unknown, Wrong, Orphaned, Revoked, Disabled, Expired}
	IdentityReasons = []Reason{Malformed, Unknown, Wrong, Disabled, Expired}
)

var reasonOf = map[standing.Verdict]Reason{
	standing.Orphaned: Orphaned, standing.Revoked: Revoked, standing.Disabled: Disabled, standing.UnknownState: Unknown,
	standing.Ended: Expired,
}

// Check returns the entry of a key that is accepted at a time, or nil and the reason for which it is rejected. A text that
// does not have the form of a key is rejected before it is hashed. All other rejections take the same steps, so that their
// duration does not tell the reason.
func (x *Keys) Check(text string, now time.Time) (*Entry, Reason) {
	name, sum, err := apikey.Fingerprint(text)
	if err != nil {
		return nil, Malformed
	}
	e := x.find(keyID([]byte(name)))
	compared := e
	if e == nil {
		compared = &decoy
	}
	equal := subtle.ConstantTimeCompare(compared.sum[:], sum[:]) == 1
	verdict := compared.standing().Admit(now)
	switch {
	case e == nil:
		return nil, Unknown
	case !equal:
		return nil, Wrong
	case verdict != standing.Admitted:
		return nil, reasonOf[verdict]
	}
	return e, ""
}

// decoy is compared with a key that is unknown, so that rejecting it takes as long as rejecting another one.
var decoy Entry

// Identity returns the description of the key.
func (e *Entry) Identity() *Identity {
	kept := e.traits.Value()
	i := &Identity{
		UID: e.KeyUID(), KeyID: string(e.id[:]), Environment: kept.environment, ChatbotID: kept.chatbotID, Label: e.label(), Scopes: []string{},
		Namespace: kept.namespace, Name: e.name(), Revision: e.revision,
	}
	if kept.scopes != "" {
		i.Scopes = strings.Split(kept.scopes, " ")
	}
	if e.notAfter != never {
		at := time.Unix(e.notAfter, 0).UTC()
		i.NotAfter = &at
	}
	return i
}
