// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"slices"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// planWithdrawal plans for a chatbot of which a part could not be read: the ledger in its status suffices to revoke. Nothing is
// announced, restored or repaired, and what the replica shows can only become less.
func (o *Observation) planWithdrawal(now time.Time) hmacPlan {
	if o.Chatbot.Spec.IdentityVerification == nil {
		return o.withdraw()
	}
	before := LedgerOf(&o.Chatbot.Status)
	f := facts.Facts{Horizon: instant.Horizon{Now: now}, Secret: revisions.Secret{State: revisions.SecretUnknown}, Failed: o.Failed}
	f.Owner = ownerOf(o.Chatbot, &o.Chatbot.Status, &f.Horizon)
	for _, r := range before.Revisions() {
		f.Taken = max(f.Taken, r.Revision)
		f.Revisions = append(f.Revisions, revisionInLedger(r, nil))
	}
	p := gates.Assess(f)
	f.Revisions = changes.Apply(changes.Of(p, p.Issue()).Amendments, f.Revisions)
	plan := hmacPlan{conclusions: gates.Assess(f), ledger: before.revoking(f.Revisions), withdrawal: true}
	if o.HMAC.Replica.Unknown {
		o.planUnseen(&plan, before)
		return plan
	}
	plan.step, plan.shown = o.nextWithdrawal(&plan, before)
	return plan
}

// withdraw ends an HMAC secret that is no longer wanted. What is in the Secret stays. The ledger is emptied first, unless the
// replica cannot be read: then only the ledger knows what to remove from it.
func (o *Observation) withdraw() hmacPlan {
	ledger, deleted := LedgerOf(&o.Chatbot.Status), !o.Chatbot.DeletionTimestamp.IsZero()
	unpruned := o.unpruned(ledger.Revisions())
	switch c := o.HMAC.Replica; {
	case o.HMAC.Rejection != nil:
	case c.Unknown && c.There:
		return hmacPlan{step: DeleteReplica}
	case c.Unknown && len(unpruned) > 0:
		return hmacPlan{step: PruneReplica, kids: unpruned}
	case !deleted && !ledger.Empty():
		return hmacPlan{step: WriteLedger}
	case c.There:
		return hmacPlan{step: DeleteReplica}
	}
	return hmacPlan{}
}

// planUnseen plans for a replica that cannot be read. What may no longer verify can be removed from it all the same, because a
// patch needs no read. An earlier or announced revision stays in the ledger until it is known not to be in the replica: the ledger
// is all that is left to remove it by.
func (o *Observation) planUnseen(plan *hmacPlan, before Ledger) {
	verifying := plan.ledger.verifying(plan.ledger.hashes(), &plan.conclusions.Horizon)
	plan.kids = o.unpruned(o.withoutHandled(before.without(verifying)))
	plan.ledger.Pending = before.Pending
	plan.ledger.Previous = verifying.Previous
	if previous := before.Previous; previous != nil && slices.Contains(plan.kids, previous.KID) {
		plan.ledger.Previous = previous
	}
	switch {
	case len(plan.kids) > 0 && !o.replicaRejected():
		plan.step = PruneReplica
	case !plan.ledger.Equal(before):
		plan.step = WriteLedger
	}
	plan.shown = plan.ledger
}

// withoutHandled leaves out the revisions whose revocation is reported as handled: the replica had lost them by then.
func (o *Observation) withoutHandled(revisions []*v1alpha1.IdentityRevision) []*v1alpha1.IdentityRevision {
	handled := o.Chatbot.Status.LastHandledRequest
	if handled == nil || handled.RevokeIssuedBefore == nil {
		return revisions
	}
	return slices.DeleteFunc(revisions, func(r *v1alpha1.IdentityRevision) bool { return !r.IssuedAt.After(handled.RevokeIssuedBefore.Time) })
}

// unpruned returns the kids of the revisions that may be in a replica that cannot be read.
func (o *Observation) unpruned(revisions []*v1alpha1.IdentityRevision) []string {
	var kids []string
	for _, revision := range revisions {
		if !o.HMAC.Replica.Pruned[revision.KID] {
			kids = append(kids, revision.KID)
		}
	}
	return kids
}

// revoking returns the ledger after the revocations among its revisions. A revoked revision stays only as the
// current one, as in ledgerAfter.
func (l Ledger) revoking(revisions []*revisions.Revision) Ledger {
	revoked := map[string]bool{}
	for _, r := range revisions {
		revoked[r.Name] = r.State == v1alpha1.StateRevoked
	}
	if l.Current != nil && revoked[revisionName(l.Current)] {
		l.Current = l.Current.DeepCopy()
		l.Current.Revoked = true
	}
	if l.Previous != nil && revoked[revisionName(l.Previous)] {
		l.Previous = nil
	}
	if l.Pending != nil && revoked[revisionName(l.Pending)] {
		l.Pending = nil
	}
	return l
}

// nextWithdrawal returns the next step: the ledger first, then the replica, which can only show less.
func (o *Observation) nextWithdrawal(plan *hmacPlan, before Ledger) (Step, Ledger) {
	c := o.HMAC.Replica
	switch {
	case !plan.ledger.Equal(before):
		return WriteLedger, plan.ledger
	case o.replicaRejected() || !c.There:
		return "", plan.ledger
	}
	allowed := plan.ledger.verifying(plan.ledger.hashes(), &plan.conclusions.Horizon)
	if kept := c.Shows.verifying(allowed.hashes(), &plan.conclusions.Horizon); !kept.Equal(c.Shows) {
		return WriteReplica, kept
	}
	return "", plan.ledger
}

func (o *Observation) replicaRejected() bool {
	return o.HMAC.Rejection != nil && o.HMAC.Rejection.Reason == v1alpha1.CopyWriteRefusedReason
}

// hmacUnknown reports whether something could not be read that decides on the chatbot's HMAC secret.
func (o *Observation) hmacUnknown() bool {
	return o.Failed.Any(report.ReadReservation, report.ReadSecret, report.ReadReplica, report.ReadSource)
}

// failedObstacle reports the failed reads. That the replica cannot be written is worse: what was revoked may still verify.
func (o *Observation) failedObstacle(now time.Time) *report.Obstacle {
	if o.replicaRejected() {
		return o.rejected(o.HMAC.Rejection, now)
	}
	return o.Failed.Obstacle("The operator still applies revocation. The operator issues, publishes and repairs nothing until the read succeeds, and retries with back-off", o.Chatbot.Status.Conditions, now)
}

// WithdrawalOf returns the withdrawal that the ledger of a chatbot asks for, whatever else is unknown.
func WithdrawalOf(chatbot *v1alpha1.DGbotChatbot, now time.Time) steps.Withdrawal {
	switch {
	case LedgerOf(&chatbot.Status).Empty():
		return steps.WithdrawNothing
	case chatbot.Spec.IdentityVerification == nil, !chatbot.DeletionTimestamp.IsZero():
		return steps.WithdrawNow
	}
	unread := report.FailedReads{{Of: report.ReadReservation}, {Of: report.ReadSecret}, {Of: report.ReadReplica}}
	o := Observation{Chatbot: chatbot, Reservation: ReservationUnknown, HMAC: HMACObservation{Replica: Replica{Unknown: true}}, Failed: unread}
	if o.planWithdrawal(now).step == "" {
		return steps.WithdrawNothing
	}
	return steps.WithdrawAfterAttempt
}
