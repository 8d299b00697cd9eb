// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/sha256"
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

// Presented is a text that has the form of a key, as a client presents it. It does not keep the text.
type Presented struct {
	// Environment is the one that the text names. It selects the sources that are asked; the environment of an accepted key is that of its record.
	Environment string
	id          keyID
	sum         [sha256.Size]byte
}

// Read reads a text. ok is false if it does not have the form of a key; such a text is not hashed.
func Read(text string) (key Presented, ok bool) {
	environment, id, sum, err := apikey.Fingerprint(text)
	if err != nil {
		return Presented{}, false
	}
	return Presented{environment, keyID([]byte(id)), sum}, true
}

// Find returns the entry that counts for the ID of a key, which is not compared otherwise; nil if the ID is unknown.
func (x *Keys) Find(key *Presented) *Entry { return x.find(key.id) }

// Check returns why a key is rejected at a time by the entry for its ID, or an empty Reason if it is accepted. The entry is nil for an unknown
// ID. All rejections take the same steps, so that their duration does not tell the reason.
func (e *Entry) Check(key *Presented, now time.Time) Reason {
	compared := e
	if e == nil {
		compared = &decoy
	}
	equal := subtle.ConstantTimeCompare(compared.sum[:], key.sum[:]) == 1
	verdict := compared.standing().Admit(now)
	switch {
	case e == nil:
		return Unknown
	case !equal:
		return Wrong
	case verdict != standing.Admitted:
		return reasonOf[verdict]
	}
	return ""
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
