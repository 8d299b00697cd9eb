// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// markWithdrawals notes on each record that a change withdraws when that was, in the same write: if the operator crashes before it writes the
// status, the record tells that there was a withdrawal. A change back to Active takes back the notes that the status has, of all records of the
// key, before a record becomes valid again: without a note there is no withdrawal to follow.
func markWithdrawals(p *gates.Gated, was *v1alpha1.Propagation, c *changes.Changes) {
	at := withdrawalTime(was, p.Now)
	reactivates := false
	for _, amendments := range [][]changes.Amendment{c.Amendments, c.AfterIssue} {
		for i := range amendments {
			a := &amendments[i]
			before, after := admission(a, p.Now)
			soonBefore, soonAfter := admission(a, p.Now.Add(propagation.AtOnce))
			reactivates = reactivates || !before && after
			if (before && !after || soonBefore && !soonAfter) && !isUnpublished(p, a.Revision()) {
				a.WithdrawnAt = &at
			}
		}
	}
	if reactivates {
		c.Amendments = append(takenBack(p, was, c.Amendments), c.Amendments...)
	}
}

// takenBack removes the notes of withdrawals: in the changes of the records that have one, and by the changes that it returns.
func takenBack(p *gates.Gated, was *v1alpha1.Propagation, amendments []changes.Amendment) (further []changes.Amendment) {
	none := ""
	for _, r := range p.Owned {
		at := slices.IndexFunc(amendments, func(a changes.Amendment) bool { return a.Revision() == r })
		switch {
		case r.WithdrawnAt.IsZero():
		case at >= 0 && amendments[at].WithdrawnAt == nil:
			// A note that no status covers stays on a record that remains withdrawn: the operator crashed before it wrote the status.
			if _, valid := admission(&amendments[at], p.Now); valid || !propagation.IsUncovered(was, r.WithdrawnAt) {
				amendments[at].WithdrawnAt = &none
			}
		case at < 0 && !propagation.IsUncovered(was, r.WithdrawnAt):
			further = append(further, changes.NewAmendment(r, steps.AmendRecord{Name: r.Name, UID: r.UID, WithdrawnAt: &none}))
		}
	}
	return further
}

// withdrawalTime returns the value of the annotation on records that are withdrawn now.
func withdrawalTime(was *v1alpha1.Propagation, now time.Time) string {
	return propagation.At(was, now).Format(metav1.RFC3339Micro)
}

// admission reports whether a verifier accepts a revision at a time, before and after a change. Asking does not make the key be planned again.
func admission(a *changes.Amendment, at time.Time) (before, after bool) {
	h := instant.Horizon{Now: at}
	amended := changes.Apply([]changes.Amendment{*a}, []*revisions.Revision{a.Revision()})
	return a.Revision().IsAdmitted(&h), amended[0].IsAdmitted(&h)
}

// isUnpublished reports whether a revision is an attempt that was never in the Secret: no client has its key.
func isUnpublished(p *gates.Gated, r *revisions.Revision) bool {
	return p.Published != nil && r.Number > p.Published.Number && r.SupersededBy == 0
}

// propagationOf returns how far verifiers have followed the last withdrawal; nil if no record tells of one, as when the key has become Active
// again.
func propagationOf(p *gates.Gated, o *Observation) *v1alpha1.Propagation {
	if len(p.Owned) > 0 && !slices.ContainsFunc(p.Owned, func(r *revisions.Revision) bool { return !r.WithdrawnAt.IsZero() }) &&
		!p.Failed.Any(report.ReadRecords) {
		return nil
	}
	next := propagation.Next(o.Key.Status.Propagation, &propagation.Withdrawals{
		Generation: p.Generation, RevokeIssuedBefore: p.Requests.Revoke.Due, Revisions: p.Owned,
		AnsweredAt: o.WithdrawnAt, ReportedAt: o.ReportedAt, View: o.Verifiers,
	}, p.Now)
	if next != nil && next.ConfirmedAt == nil && next.Verifiers > 0 {
		p.WakeBy(propagation.NextReport(o.ReportedAt, p.Now))
		p.WakeBy(o.Verifiers.CompleteFrom)
	}
	return next
}

// lastNote returns the revision whose record has the latest note, while verifiers have not confirmed the withdrawal: it is kept, because a key
// without a note is one that has become Active again. Nil if nothing is pending.
func lastNote(p *gates.Gated, was *v1alpha1.Propagation) *revisions.Revision {
	if was == nil || was.ConfirmedAt != nil || len(p.Owned) == 0 {
		return nil
	}
	last := slices.MaxFunc(p.Owned, func(a, b *revisions.Revision) int { return a.WithdrawnAt.Compare(b.WithdrawnAt) })
	if last.WithdrawnAt.IsZero() {
		return nil
	}
	return last
}

// IsWithdrawalOpen reports whether a withdrawal of a key waits to be reported or to be confirmed by verifiers.
func IsWithdrawalOpen(key *v1alpha1.DGbotAPIKey, records []v1alpha1.DGbotAPIKeyRecord) bool {
	was := key.Status.Propagation
	if was == nil || was.ConfirmedAt != nil {
		return slices.ContainsFunc(records, func(record v1alpha1.DGbotAPIKeyRecord) bool {
			return propagation.IsUncovered(was, revisions.WithdrawnAt(&record))
		})
	}
	return true
}
