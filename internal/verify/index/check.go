// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/subtle"
	"strings"
	"time"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
)

// Identity is what is known of a key that is good.
type Identity struct {
	KeyID       string   `json:"keyID"`
	Environment string   `json:"environment"`
	ChatbotID   string   `json:"chatbotID,omitempty"`
	Label       string   `json:"label"`
	Scopes      []string `json:"scopes"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Revision    int64    `json:"revision"`
	// NotAfter is when the key ends; nil where no end is known.
	NotAfter *time.Time `json:"notAfter,omitempty"`
}

// Reason says why a key is not good. It goes into metrics and nowhere else: whoever sent the key does not learn it.
type Reason string

const (
	Malformed Reason = "malformed"
	Unknown   Reason = "unknown"
	// wrong has the ID of a key that exists, and is not that key.
	Wrong    Reason = "wrong"
	Orphaned Reason = "orphaned"
	Revoked  Reason = "revoked"
	Disabled Reason = "disabled"
	Expired  Reason = "expired"
)

// refusals are all there are.
var Reasons = []Reason{Malformed, Unknown, Wrong, Orphaned, Revoked, Disabled, Expired}

var reasonOf = map[lifecycle.Verdict]Reason{
	lifecycle.Orphaned: Orphaned, lifecycle.Revoked: Revoked, lifecycle.Disabled: Disabled, lifecycle.UnknownState: Unknown,
	lifecycle.Ended: Expired,
}

// Check returns the entry of a key that is good at a time; nil and the reason where it is not. A text that is no key is
// dropped before anything is hashed; from there on every refusal takes the same steps.
func (x *Keys) Check(text string, now time.Time) (*Entry, Reason) {
	name, sum, err := apikey.Fingerprint(text)
	if err != nil {
		return nil, Malformed
	}
	e := x.find(keyID([]byte(name)))
	counts := e
	if e == nil {
		counts = &decoy
	}
	equal := subtle.ConstantTimeCompare(counts.sum[:], sum[:]) == 1
	verdict := counts.standing().Admit(now)
	switch {
	case e == nil:
		return nil, Unknown
	case !equal:
		return nil, Wrong
	case verdict != lifecycle.Admitted:
		return nil, reasonOf[verdict]
	}
	return e, ""
}

// nobody stands in for the record of a key that is not known, so that looking it up takes as long.
var decoy Entry

// Identity returns what is known of the key.
func (e *Entry) Identity() *Identity {
	kept := e.traits.Value()
	i := &Identity{
		KeyID: string(e.id[:]), Environment: kept.environment, ChatbotID: kept.chatbotID, Label: e.label(), Scopes: []string{},
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
