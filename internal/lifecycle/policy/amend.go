// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// amend returns what has to change about a record. Every value is a function of data alone, so that two instances write
// the same, and all but label, chatbotID, scopes and Disabled are one-way.
func (p *amender) amend(record *revisions.Revision) steps.AmendRecord {
	a := steps.AmendRecord{Name: record.Name, UID: record.UID}
	a.SupersededBy, a.Audit = p.supersededBy(record), p.auditNote(record)
	if record.State == v1alpha1.StateRevoked {
		return a
	}
	if state := p.WantedState(record); state != record.State {
		a.State = state
	}
	if record.Ended(&p.Horizon) {
		return a
	}
	if end := p.wantedEnd(record); end != nil && (record.NotAfter == nil || end.Before(record.NotAfter)) {
		a.NotAfter = end
		if p.Wants.WhenUnused() && a.State != v1alpha1.StateRevoked { // a revocation waits for no report
			a.Version = record.Version
		}
	}
	if record.Label != p.Wants.Label {
		a.Label = p.Wants.Label
	}
	if id := p.ChatbotIDOf(record); record.ChatbotID != id {
		a.ChatbotID = &id
	}
	if scopes := p.Scopes(); !slices.Equal(record.Scopes, scopes) {
		a.Scopes = &scopes
	}
	return a
}

// auditNote returns what the audit has to note on a record; nil for nothing. That it has revoked one stays on it for good.
func (p *amender) auditNote(record *revisions.Revision) *string {
	if record != p.Owned[0] {
		return nil
	}
	noted, wanted := record.Mark, p.Audit.Mark
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
func (p *amender) supersededBy(record *revisions.Revision) int64 {
	if p.Published == nil || record.Number >= p.Published.Number || record.SupersededBy != 0 || p.Failed.Any(report.ReadRecords) {
		return 0
	}
	return p.Published.Number
}

// wantedEnd returns the earliest end that anything asks for; nil if nothing does.
func (p *amender) wantedEnd(record *revisions.Revision) *metav1.Time {
	end := p.Wants.ExpiresAt
	if record.IsJumped && record.NotAfter != nil && p.Lifetime > 0 {
		end = instant.Earlier(end, p.EndOf(record.IssuedAt))
	}
	if p.Published == nil || record == p.Published || p.OverlapUnknown() {
		return end
	}
	if record.Number > p.Published.Number {
		if until := p.unpublishedUntil(record); until != nil && p.Reached(until.Time) {
			end = instant.Earlier(end, UnpublishedEnd(record.IssuedAt, record.NotAfter, p.Overlap))
		}
		if p.beyondLimit(record, p.Highest+1) {
			end = instant.Earlier(end, p.Owned[0].IssuedAt.DeepCopy())
		}
		return end
	}
	if p.beyondLimit(record, p.Published.Number) {
		end = instant.Earlier(end, p.Published.IssuedAt.DeepCopy())
	}
	return instant.Earlier(end, retirement{p.Known}.retiredAt(record))
}

// beyondLimit reports whether a revision is not among the newest ones, older than a number, that may verify at once.
func (p *amender) beyondLimit(r *revisions.Revision, below int64) bool {
	return p.Exceeds(p.MaxPrevious, r, below, &p.Horizon)
}

// unpublishedUntil returns until when an instance may still publish a revision above the published one; nil for other revisions. The
// time also ends while a cause stands: revisions of attempts that fail again and again would accumulate.
func (p *amender) unpublishedUntil(record *revisions.Revision) *metav1.Time {
	if p.Published == nil || record.Number <= p.Published.Number {
		return nil
	}
	if end := record.NotAfter; end != nil && !end.After(record.IssuedAt.Add(p.Overlap)) {
		return nil
	}
	began := record.IssuedAt.Time
	if created := record.CreatedAt.Time; created.After(began) {
		began = created
	}
	return &metav1.Time{Time: began.Add(steps.PublishGrace)}
}

// UnpublishedEnd returns when a revision that could not be published expires: as if the overlap began when it was issued. It is not
// revoked, because no client holds its key, and because the instance that gave up may be wrong about the write.
func UnpublishedEnd(issuedAt metav1.Time, notAfter *metav1.Time, overlap time.Duration) *metav1.Time {
	return instant.Earlier(&metav1.Time{Time: issuedAt.Add(overlap)}, notAfter)
}
