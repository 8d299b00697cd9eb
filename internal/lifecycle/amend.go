// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// amend returns what has to change about a record. Every value is a function of data alone, so that two instances write
// the same, and all but label, chatbotID, scopes and Disabled are one-way.
func (p *planner) amend(record *Revision) AmendRecord {
	a := AmendRecord{Name: record.Name, UID: record.UID}
	a.SupersededBy, a.Audit = p.supersededBy(record), p.auditNote(record)
	if record.State == v1alpha1.StateRevoked {
		return a
	}
	if state := p.wantedState(record); state != record.State {
		a.State = state
	}
	if record.ended(&p.horizon) {
		return a
	}
	if end := p.wantedEnd(record); end != nil && (record.NotAfter == nil || end.Before(record.NotAfter)) {
		a.NotAfter = end
		if p.wants.whenUnused() && a.State != v1alpha1.StateRevoked { // a revocation waits for no report
			a.Version = record.Version
		}
	}
	if record.Label != p.wants.label {
		a.Label = p.wants.label
	}
	if id := p.chatbotIDOf(record); record.ChatbotID != id {
		a.ChatbotID = &id
	}
	if scopes := p.scopes(); !slices.Equal(record.Scopes, scopes) {
		a.Scopes = &scopes
	}
	return a
}

// auditNote returns what the audit has to note on a record; nil for nothing. That it has revoked one stays on it for good.
func (p *planner) auditNote(record *Revision) *string {
	if record != p.live[0] {
		return nil
	}
	noted, wanted := record.Mark, p.audit.mark
	switch {
	case wanted != nil && (noted == nil || noted.String() != wanted.String()):
		return new(wanted.String())
	case wanted == nil && noted != nil && noted.Stage == v1alpha1.AuditDisabled:
		return new("")
	}
	return nil
}

// supersededBy returns the published revision for a lower record on which no one is noted yet, 0 otherwise. It is noted
// on revoked and ended records too: it is what tells their restored bytes from a key in use.
func (p *planner) supersededBy(record *Revision) int64 {
	if p.published == nil || record.Number >= p.published.Number || record.SupersededBy != 0 || p.Failed.Any(ReadRecords) {
		return 0
	}
	return p.published.Number
}

// wantedEnd returns the earliest end that anything asks for; nil if nothing does.
func (p *planner) wantedEnd(record *Revision) *metav1.Time {
	end := p.wants.expiresAt
	if record.isJumped && record.NotAfter != nil && p.lifetime > 0 {
		end = earlier(end, p.endOf(record.IssuedAt))
	}
	if p.published == nil || record == p.published || p.overlapUnknown() {
		return end
	}
	if record.Number > p.published.Number {
		if until := p.unpublishedUntil(record); until != nil && p.reached(until.Time) {
			end = earlier(end, endUnpublished(record.IssuedAt, record.NotAfter, p.overlap))
		}
		if p.beyondLimit(record, p.highest+1) {
			end = earlier(end, p.live[0].IssuedAt.DeepCopy())
		}
		return end
	}
	if p.beyondLimit(record, p.published.Number) {
		end = earlier(end, p.published.IssuedAt.DeepCopy())
	}
	return earlier(end, p.retiredAt(record))
}

// beyondLimit reports whether a revision is not among the newest ones, older than a number, that may verify at once.
func (p *planner) beyondLimit(r *Revision, below int64) bool {
	return p.exceeds(p.maxPrevious, r, below, &p.horizon)
}

// unpublishedUntil returns until when an instance may still publish a revision above the published one; nil for other revisions. The
// time also ends while a cause stands: revisions of attempts that fail again and again would accumulate.
func (p *planner) unpublishedUntil(record *Revision) *metav1.Time {
	if p.published == nil || record.Number <= p.published.Number {
		return nil
	}
	if end := record.NotAfter; end != nil && !end.After(record.IssuedAt.Add(p.overlap)) {
		return nil
	}
	began := record.IssuedAt.Time
	if created := record.CreatedAt.Time; created.After(began) {
		began = created
	}
	return &metav1.Time{Time: began.Add(publishGrace)}
}

// EndUnpublished returns how to expire a record whose key could not be published. See endUnpublished.
func EndUnpublished(record *v1alpha1.DGbotAPIKeyRecord, key *v1alpha1.DGbotAPIKey) AmendRecord {
	return AmendRecord{Name: record.Name, UID: record.UID, NotAfter: endUnpublished(record.Spec.IssuedAt, record.Spec.NotAfter, Overlap(&key.Spec))}
}

// endUnpublished returns when a revision that could not be published expires: as if the overlap began when it was issued. It is not
// revoked, because no client holds its key, and because the instance that gave up may be wrong about the write.
func endUnpublished(issuedAt metav1.Time, notAfter *metav1.Time, overlap time.Duration) *metav1.Time {
	return earlier(&metav1.Time{Time: issuedAt.Add(overlap)}, notAfter)
}

func rfc3339(at *metav1.Time) string { return at.UTC().Format(time.RFC3339) }
