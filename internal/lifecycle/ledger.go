// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Ledger is which HMAC secrets of a chatbot count. It is kept in the chatbot's status, which only the operator writes; the
// Secret and the copy are trusted where they match it. For HMAC secrets it is what records are for API keys.
type Ledger struct {
	// Current is the one that is published, Previous the one before it as long as it verifies.
	Current, Previous *v1alpha1.IdentityRevision
	// Pending has been announced: it is to be in the copy, and then in the Secret.
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

// Equal says whether two ledgers say the same.
func (l Ledger) Equal(other Ledger) bool { return equality.Semantic.DeepEqual(l, other) }

// Empty says whether there is nothing in it.
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
func (l Ledger) verifying(known map[string]bool, now time.Time) Ledger {
	keep := func(r *v1alpha1.IdentityRevision) *v1alpha1.IdentityRevision {
		if r == nil || r.Revoked || r.NotAfter != nil && !now.Before(r.NotAfter.Time) || !known[r.Hash] {
			return nil
		}
		return r
	}
	return Ledger{Current: keep(l.Current), Previous: keep(l.Previous), Pending: keep(l.Pending)}
}

// recordName stands in for the name of a record.
func recordName(r *v1alpha1.IdentityRevision) string { return fmt.Sprintf("r%d", r.Revision) }

// asRecord is a revision in the form in which the policy takes it.
func asRecord(r *v1alpha1.IdentityRevision, key *v1alpha1.DGbotAPIKey, supersededBy *v1alpha1.IdentityRevision) v1alpha1.DGbotAPIKeyRecord {
	record := NewRecord(key, IssueRevision{
		Revision: r.Revision, RecordName: recordName(r), Cause: r.Cause, IssuedAt: r.IssuedAt, NotAfter: r.NotAfter,
	}, r.KID, r.Hash)
	if r.Revoked {
		record.Spec.State = v1alpha1.StateRevoked
	}
	if supersededBy != nil {
		AmendRecord{SupersededBy: supersededBy.Revision}.ApplyTo(&record)
	}
	return record
}

// asRevision is the way back.
func asRevision(r *Revision) *v1alpha1.IdentityRevision {
	return &v1alpha1.IdentityRevision{
		Revision: r.Number, KID: r.ID, Hash: r.Hash, Cause: r.Cause, IssuedAt: r.IssuedAt, NotAfter: r.NotAfter, Revoked: r.State == v1alpha1.StateRevoked,
	}
}

// asStatus is what the policy takes of a revision from a key's status.
func asStatus(r *v1alpha1.IdentityRevision) *v1alpha1.RevisionStatus {
	if r == nil {
		return nil
	}
	return &v1alpha1.RevisionStatus{Revision: r.Revision, KeyID: r.KID, RecordName: recordName(r), IssuedAt: r.IssuedAt, NotAfter: r.NotAfter}
}

// asKey is what the policy takes of a chatbot: a key that is always Active.
func asKey(chatbot *v1alpha1.DGbotChatbot, s *v1alpha1.DGbotChatbotStatus) *v1alpha1.DGbotAPIKey {
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: chatbot.Namespace, Name: chatbot.Name, UID: chatbot.UID, Generation: chatbot.Generation, Annotations: requestsOf(chatbot),
		},
		Spec: v1alpha1.DGbotAPIKeySpec{
			State: v1alpha1.StateActive, Environment: chatbot.Spec.Environment, Secret: &v1alpha1.SecretSpec{Name: IdentitySecretName(chatbot)},
		},
		Status: *asKeyStatus(s),
	}
	if iv := chatbot.Spec.IdentityVerification; iv != nil && iv.Rotation != nil {
		r := iv.Rotation
		key.Spec.Rotation = &v1alpha1.Rotation{
			Interval: r.Interval, Overlap: r.Overlap, RequestedAt: r.RequestedAt, RevokeIssuedBefore: r.RevokeIssuedBefore,
		}
	}
	return key
}

// requestsOf are the annotations of a chatbot that mean something. The audit is for keys.
func requestsOf(chatbot *v1alpha1.DGbotChatbot) map[string]string {
	annotations := maps.Clone(chatbot.Annotations)
	delete(annotations, v1alpha1.KeptAtAnnotation)
	return annotations
}

func asKeyStatus(s *v1alpha1.DGbotChatbotStatus) *v1alpha1.DGbotAPIKeyStatus {
	status := &v1alpha1.DGbotAPIKeyStatus{
		Conditions: s.Conditions, Current: asStatus(s.Current), LastHandledRequest: s.LastHandledRequest, Binding: s.Binding,
	}
	for i := range s.Previous {
		status.Previous = append(status.Previous, *asStatus(&s.Previous[i]))
	}
	return status
}

// IdentitySecretName returns the effective name of the chatbot's Secret.
func IdentitySecretName(chatbot *v1alpha1.DGbotChatbot) string {
	if iv := chatbot.Spec.IdentityVerification; iv != nil && iv.Secret != nil && iv.Secret.Name != "" {
		return iv.Secret.Name
	}
	return chatbot.Name + "-identity"
}
