// SPDX-License-Identifier: Apache-2.0

// Package revisions has the revisions of one owner, API keys or HMAC secrets, and what the Secret holds of them.
package revisions

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// Revision is one issued API key or HMAC secret. The policy is the same for both. An API key's revision is read from its
// DGbotAPIKeyRecord, an HMAC secret's from the ledger in the status of its DGbotChatbot.
type Revision struct {
	// Number counts the revisions of one owner, beginning with 1. Numbers may be missing.
	Number int64
	// Name tells the revisions of one owner apart; that of an API key is the name of its record.
	Name string
	// UID and Version are those of the record; empty for an HMAC secret.
	UID     types.UID
	Version string
	// ID is public: the key ID, or the kid.
	ID string
	// Hash of the key text or of the HMAC secret.
	Hash  string
	Cause v1alpha1.Cause
	// IssuedAt is when it was issued. Of a revision that was issued while the operator's clock was ahead, it is CreatedAt.
	IssuedAt metav1.Time
	// CreatedAt is when the API server created the record; zero for an HMAC secret.
	CreatedAt metav1.Time
	// NotAfter is nil for a revision that does not expire.
	NotAfter *metav1.Time
	State    v1alpha1.KeyState
	// SupersededBy is the number of the published revision that superseded it; 0 if none has.
	SupersededBy int64

	// WithdrawnAt is when the operator withdrew the revision while it was valid; zero if it did not. Of API keys only.
	WithdrawnAt time.Time

	// Label, ChatbotID, Scopes, LastUsedAt, Resolution and Mark are of API keys only.
	Label      string
	ChatbotID  string
	Scopes     []v1alpha1.Scope
	LastUsedAt *metav1.Time
	Resolution *metav1.Duration
	// Mark is what the audit noted on the record; nil for nothing.
	Mark *AuditMark

	// IsJumped: the revision was issued while the operator's clock was ahead.
	IsJumped bool
	// isDoubtful is set if IssuedAt lies long after CreatedAt, and it is unknown which of the two clocks was right.
	isDoubtful bool
	// NameNumber is the number in the name of the record; 0 where the name is no such. A mutating policy can make any number of
	// spec.revision, and the name is taken all the same.
	NameNumber int64
}

// Of returns the revision that a record of a key describes.
func Of(key *v1alpha1.DGbotAPIKey, record *v1alpha1.DGbotAPIKeyRecord) *Revision {
	return &Revision{
		Number: record.Spec.Revision, Name: record.Name, UID: record.UID, Version: record.ResourceVersion,
		ID: record.Spec.KeyID, Hash: record.Spec.Hash, Cause: record.Spec.Cause,
		IssuedAt: record.Spec.IssuedAt, CreatedAt: record.CreationTimestamp, NotAfter: record.Spec.NotAfter, State: record.Spec.State,
		SupersededBy: SupersededBy(record), WithdrawnAt: WithdrawnAt(record),
		Label: record.Spec.Label, ChatbotID: record.Spec.ChatbotID, Scopes: record.Spec.Scopes,
		LastUsedAt: record.Status.LastUsedAt, Resolution: record.Status.Resolution, Mark: MarkOf(record),
		NameNumber: numberInName(key, record.Name),
	}
}

// Ended reports whether the revision has expired.
func (r *Revision) Ended(h *instant.Horizon) bool {
	standing := r.standing()
	h.WakeBy(standing.NotAfter)
	return standing.Ended(h.Now)
}

// Verifies reports whether the revision is accepted, or would be if its owner were not Disabled.
func (r *Revision) Verifies(h *instant.Horizon) bool {
	standing := r.standing()
	if !standing.Verifies(h.Now) {
		return false
	}
	h.WakeBy(standing.NotAfter)
	return true
}

// IsAdmitted reports whether a verifier accepts the revision.
func (r *Revision) IsAdmitted(h *instant.Horizon) bool {
	return r.Verifies(h) && r.standing().Admit(h.Now) == standing.Admitted
}

// standing of a revision that has its owner: revisions without one are not among those that the policy decides on.
func (r *Revision) standing() standing.Standing {
	s := standing.Standing{Owned: true, State: r.State}
	if r.NotAfter != nil {
		s.NotAfter = r.NotAfter.Time
	}
	return s
}
