// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// amend returns what has to change about a record. Every value is a function of data alone, so that two operators write
// the same, and all but label, chatbotID, scopes and Disabled are one-way.
func (p *planner) amend(record *v1alpha1.DGbotAPIKeyRecord) AmendRecord {
	a := AmendRecord{Name: record.Name, UID: record.UID}
	a.SupersededBy, a.Audit = p.supersededBy(record), p.auditNote(record)
	if record.Spec.State == v1alpha1.StateRevoked {
		return a
	}
	if state := p.wantedState(record); state != record.Spec.State {
		a.State = state
	}
	if ended(record, p.now) {
		return a
	}
	if end := p.wantedEnd(record); end != nil && (record.Spec.NotAfter == nil || end.Before(record.Spec.NotAfter)) {
		a.NotAfter = end
		if p.whenUnused() && a.State != v1alpha1.StateRevoked { // a revocation waits for no report
			a.Version = record.ResourceVersion
		}
	}
	if record.Spec.Label != p.Key.Spec.Label {
		a.Label = p.Key.Spec.Label
	}
	if id := p.chatbotIDOf(record); record.Spec.ChatbotID != id {
		a.ChatbotID = &id
	}
	if scopes := p.scopes(); !slices.Equal(record.Spec.Scopes, scopes) {
		a.Scopes = &scopes
	}
	return a
}

// auditNote returns what the audit has to note on a record; nil for nothing. That it has revoked one stays on it for good.
func (p *planner) auditNote(record *v1alpha1.DGbotAPIKeyRecord) *string {
	if record != p.live[0] {
		return nil
	}
	noted, wanted := MarkOf(record), p.audit.mark
	switch {
	case wanted != nil && (noted == nil || noted.String() != wanted.String()):
		return new(wanted.String())
	case wanted == nil && noted != nil && noted.Stage == v1alpha1.AuditDisabled:
		return new("")
	}
	return nil
}

func (p *planner) wantedState(record *v1alpha1.DGbotAPIKeyRecord) v1alpha1.KeyState {
	switch {
	case StateOf(p.Key) == v1alpha1.StateRevoked || p.requests.revoke.covers(record.Spec.IssuedAt):
		return v1alpha1.StateRevoked
	case StateOf(p.Key) == v1alpha1.StateDisabled:
		return v1alpha1.StateDisabled
	}
	return v1alpha1.StateActive
}

// supersededBy returns the published revision for a lower record on which no one is noted yet, 0 otherwise. It is noted
// on revoked and ended records too: it is what tells their restored bytes from a key in use.
func (p *planner) supersededBy(record *v1alpha1.DGbotAPIKeyRecord) int64 {
	if p.published == nil || record.Spec.Revision >= p.published.Spec.Revision || SupersededBy(record) != 0 || p.Failed.Any(ReadRecords) {
		return 0
	}
	return p.published.Spec.Revision
}

// wantedEnd returns the earliest end that anything asks for; nil if nothing does.
func (p *planner) wantedEnd(record *v1alpha1.DGbotAPIKeyRecord) *metav1.Time {
	end := p.Key.Spec.ExpiresAt
	if p.jumped[record.Name] && record.Spec.NotAfter != nil && p.held.lifetime > 0 {
		end = earlier(end, p.endOf(record.Spec.IssuedAt))
	}
	if p.published == nil || record == p.published || p.overlapUnknown() {
		return end
	}
	if record.Spec.Revision > p.published.Spec.Revision {
		if until := p.unpublishedUntil(record); until != nil && !until.After(p.now) {
			end = earlier(end, EndUnpublished(record, p.Key).NotAfter)
		}
		if p.beyondLimit(record, p.highest+1) {
			end = earlier(end, p.live[0].Spec.IssuedAt.DeepCopy())
		}
		return end
	}
	if p.beyondLimit(record, p.published.Spec.Revision) {
		end = earlier(end, p.published.Spec.IssuedAt.DeepCopy())
	}
	return earlier(end, p.retiredAt(record))
}

// beyondLimit: below a revision more verify than may, and this one is not among the newest of them.
func (p *planner) beyondLimit(record *v1alpha1.DGbotAPIKeyRecord, below int64) bool {
	newer := 0
	for _, other := range p.live {
		if other.Spec.Revision > record.Spec.Revision && other.Spec.Revision < below && verifying(other, p.now) {
			newer++
		}
	}
	return newer >= p.subject().MaxPrevious
}

// unpublishedUntil returns until when a record above the published one may still be somebody's attempt to publish; nil
// for other records. It ends also while a cause is outstanding: attempts that fail again and again would pile up.
func (p *planner) unpublishedUntil(record *v1alpha1.DGbotAPIKeyRecord) *metav1.Time {
	if p.published == nil || record.Spec.Revision <= p.published.Spec.Revision {
		return nil
	}
	if end := record.Spec.NotAfter; end != nil && !end.After(record.Spec.IssuedAt.Add(p.overlap)) {
		return nil
	}
	began := record.Spec.IssuedAt.Time
	if created := record.CreationTimestamp.Time; created.After(began) {
		began = created
	}
	return &metav1.Time{Time: began.Add(publishGrace)}
}

// EndUnpublished returns how to end a record whose key could not be published: as if the overlap began when it was
// issued. It is not revoked, because nobody holds its key, and because whoever gave up may be wrong about the write.
func EndUnpublished(record *v1alpha1.DGbotAPIKeyRecord, key *v1alpha1.DGbotAPIKey) AmendRecord {
	end := &metav1.Time{Time: record.Spec.IssuedAt.Add(Overlap(&key.Spec))}
	return AmendRecord{Name: record.Name, UID: record.UID, NotAfter: earlier(end, record.Spec.NotAfter)}
}

func rfc3339(at *metav1.Time) string { return at.UTC().Format(time.RFC3339) }
