// SPDX-License-Identifier: Apache-2.0

package changes

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// amend returns what has to change about a record. Every value is a function of data alone, so that two instances write
// the same, and all but label, chatbotID, scopes and Disabled are one-way.
func (m *amender) amend(record *revisions.Revision) steps.AmendRecord {
	a := steps.AmendRecord{Name: record.Name, UID: record.UID}
	a.SupersededBy, a.Audit = m.supersededBy(record), m.auditNote(record)
	if a.Audit != nil {
		a.Version = record.Version
	}
	if record.State == v1alpha1.StateRevoked {
		return a
	}
	if state := m.WantedState(record); state != record.State {
		a.State = state
		switch {
		case m.isAudited(record, state):
			a.Version = record.Version
		case effective.Strictness[state] > effective.Strictness[record.State]:
			a.Version = "" // what the spec or a request withdraws waits for no report
		}
	}
	if record.Ended(&m.Horizon) {
		return a
	}
	if end := m.wantedEnd(record); end != nil && (record.NotAfter == nil || end.Before(record.NotAfter)) {
		a.NotAfter = end
		if m.Wants.WhenUnused() && a.State != v1alpha1.StateRevoked { // a revocation waits for no report
			a.Version = record.Version
		}
	}
	if record.Label != m.Wants.Label {
		a.Label = m.Wants.Label
	}
	if id := m.ChatbotIDOf(record); record.ChatbotID != id {
		a.ChatbotID = &id
	}
	if scopes := m.Scopes(); !slices.Equal(record.Scopes, scopes) {
		a.Scopes = &scopes
	}
	return a
}

// isAudited reports whether it is the audit that wants a state of a record: neither the spec nor a request does. A use that was reported since
// the records were read would make it another decision, so that the change names the version of the record.
func (m *amender) isAudited(record *revisions.Revision, state v1alpha1.KeyState) bool {
	return effective.Strictness[state] > effective.Strictness[m.Wants.State] && !m.Requests.Revoke.Covers(record.RevocableFrom())
}

// auditNote returns what the audit has to note on a record; nil for nothing. That it has revoked one stays on it for good.
func (m *amender) auditNote(record *revisions.Revision) *string {
	if record != m.Owned[0] {
		return nil
	}
	noted, wanted := record.Mark, m.Audit.Mark
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
func (m *amender) supersededBy(record *revisions.Revision) int64 {
	if m.Published == nil || record.Number >= m.Published.Number || record.SupersededBy != 0 || m.Failed.Any(report.ReadRecords) {
		return 0
	}
	return m.Published.Number
}

// wantedEnd returns the earliest end that anything asks for; nil if nothing does.
func (m *amender) wantedEnd(record *revisions.Revision) *metav1.Time {
	end := m.Wants.ExpiresAt
	if record.IsJumped && record.NotAfter != nil && m.Lifetime > 0 {
		end = instant.Earlier(end, m.EndOf(record.IssuedAt))
	}
	if m.Published == nil || record == m.Published || m.OverlapUnknown() {
		return end
	}
	if record.Number > m.Published.Number {
		if until := m.unpublishedUntil(record); until != nil && m.Reached(until.Time) {
			end = instant.Earlier(end, UnpublishedEnd(record.IssuedAt, record.NotAfter, m.Overlap))
		}
		if m.beyondLimit(record, m.Highest+1) {
			end = instant.Earlier(end, m.Owned[0].IssuedAt.DeepCopy())
		}
		return end
	}
	if m.beyondLimit(record, m.Published.Number) {
		end = instant.Earlier(end, m.Published.IssuedAt.DeepCopy())
	}
	return instant.Earlier(end, retirement{m.Known}.retiredAt(record))
}

// beyondLimit reports whether a revision is not among the newest ones, older than a number, that may verify at once.
func (m *amender) beyondLimit(r *revisions.Revision, below int64) bool {
	return m.Exceeds(m.MaxPrevious, r, below, &m.Horizon)
}

// unpublishedUntil returns until when an instance may still publish a revision above the published one; nil for other revisions. The
// time also ends while a cause stands: revisions of attempts that fail again and again would accumulate.
func (m *amender) unpublishedUntil(record *revisions.Revision) *metav1.Time {
	if m.Published == nil || record.Number <= m.Published.Number {
		return nil
	}
	if end := record.NotAfter; end != nil && !end.After(record.IssuedAt.Add(m.Overlap)) {
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
