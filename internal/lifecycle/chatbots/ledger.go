// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// Ledger is which HMAC secrets of a chatbot count. It is kept in the chatbot's status, which only the operator writes; the
// Secret and the replica are trusted where they match it. For HMAC secrets it is what records are for API keys.
type Ledger struct {
	// Current is the one that is published, Previous the earlier one as long as it verifies.
	Current, Previous *v1alpha1.IdentityRevision
	// Pending has been announced: it is to be in the replica, and then in the Secret.
	Pending *v1alpha1.IdentityRevision
}

// LedgerOf returns the ledger in a status.
func LedgerOf(s *v1alpha1.DGbotChatbotStatus) Ledger {
	l := Ledger{Current: s.Current, Pending: s.Pending}
	if len(s.Previous) > 0 {
		l.Previous = &s.Previous[0]
	}
	return l
}

// ApplyTo puts the ledger into a status.
func (l Ledger) ApplyTo(s *v1alpha1.DGbotChatbotStatus) {
	s.Current, s.Pending, s.Previous = l.Current, l.Pending, nil
	if l.Previous != nil {
		s.Previous = []v1alpha1.IdentityRevision{*l.Previous}
	}
}

// Replace makes the ledger that of a status of which the rest stays for now. Where nothing is left of the ledger, what followed from it
// goes as well: whatever is issued after that is a first one, and replaces nothing that was lost.
func (l Ledger) Replace(s *v1alpha1.DGbotChatbotStatus) {
	l.ApplyTo(s)
	if l.Empty() {
		s.Imported, s.NextRotationAt, s.LastHandledRequest, s.Binding = "", nil, nil, nil
	}
}

// Equal reports whether two ledgers are equal.
func (l Ledger) Equal(other Ledger) bool { return equality.Semantic.DeepEqual(l, other) }

// Empty reports whether the ledger has no revision.
func (l Ledger) Empty() bool { return l == Ledger{} }

// Revisions are those in the ledger, as far as there are any.
func (l Ledger) Revisions() []*v1alpha1.IdentityRevision {
	var all []*v1alpha1.IdentityRevision
	for _, revision := range []*v1alpha1.IdentityRevision{l.Pending, l.Current, l.Previous} {
		if revision != nil {
			all = append(all, revision)
		}
	}
	return all
}

// hashes are those of all revisions in the ledger.
func (l Ledger) hashes() map[string]bool {
	all := map[string]bool{}
	for _, revision := range l.Revisions() {
		all[revision.Hash] = true
	}
	return all
}

// without returns the revisions that are not in another ledger.
func (l Ledger) without(other Ledger) []*v1alpha1.IdentityRevision {
	hashes := other.hashes()
	return slices.DeleteFunc(l.Revisions(), func(r *v1alpha1.IdentityRevision) bool { return hashes[r.Hash] })
}

// verifying is the part of the ledger that verifies, and of which the secret is at hand.
func (l Ledger) verifying(known map[string]bool, h *instant.Horizon) Ledger {
	keep := func(r *v1alpha1.IdentityRevision) *v1alpha1.IdentityRevision {
		if r == nil || r.Revoked || r.NotAfter != nil && h.Reached(r.NotAfter.Time) || !known[r.Hash] {
			return nil
		}
		return r
	}
	return Ledger{Current: keep(l.Current), Previous: keep(l.Previous), Pending: keep(l.Pending)}
}

// revisionName tells the revisions of a ledger apart.
func revisionName(r *v1alpha1.IdentityRevision) string { return fmt.Sprintf("r%d", r.Revision) }

// revisionInLedger returns the revision that the ledger describes, given the one that superseded it; nil for none.
func revisionInLedger(r, supersededBy *v1alpha1.IdentityRevision) *revisions.Revision {
	revision := &revisions.Revision{
		Number: r.Revision, Name: revisionName(r), ID: r.KID, Hash: r.Hash, Cause: r.Cause, IssuedAt: r.IssuedAt, NotAfter: r.NotAfter, State: v1alpha1.StateActive,
	}
	if r.Revoked {
		revision.State = v1alpha1.StateRevoked
	}
	if supersededBy != nil {
		revision.SupersededBy = supersededBy.Revision
	}
	return revision
}

// inLedger returns a revision as the ledger describes it.
func inLedger(r *revisions.Revision) *v1alpha1.IdentityRevision {
	return &v1alpha1.IdentityRevision{
		Revision: r.Number, KID: r.ID, Hash: r.Hash, Cause: r.Cause, IssuedAt: r.IssuedAt, NotAfter: r.NotAfter, Revoked: r.State == v1alpha1.StateRevoked,
	}
}

// requestsOf returns the annotations of a chatbot without those of the audit, which is for keys.
func requestsOf(chatbot *v1alpha1.DGbotChatbot) map[string]string {
	annotations := maps.Clone(chatbot.Annotations)
	delete(annotations, v1alpha1.KeptAtAnnotation)
	return annotations
}

// SecretName returns the effective name of the chatbot's Secret.
func SecretName(chatbot *v1alpha1.DGbotChatbot) string {
	if iv := chatbot.Spec.IdentityVerification; iv != nil && iv.Secret != nil && iv.Secret.Name != "" {
		return iv.Secret.Name
	}
	return chatbot.Name + "-identity"
}
