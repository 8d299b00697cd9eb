// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// planWithdrawal plans for a chatbot of which a part could not be read: the ledger in its status suffices to revoke. Nothing is
// announced, restored or repaired, and what the copy shows can only become less.
func (o *ChatbotObservation) planWithdrawal(now time.Time) hmacPlan {
	if o.Chatbot.Spec.IdentityVerification == nil {
		return o.withdraw()
	}
	before := LedgerOf(&o.Chatbot.Status)
	f := facts{horizon: horizon{now: now}, Secret: Secret{State: SecretUnknown}, Failed: o.Failed}
	f.owner = ownerOfChatbot(o.Chatbot, &o.Chatbot.Status, &f.horizon)
	for _, r := range before.Revisions() {
		f.taken = max(f.taken, r.Revision)
		f.revisions = append(f.revisions, revisionInLedger(r, nil))
	}
	for _, a := range assess(f).changes().amendments {
		a.apply()
	}
	plan := hmacPlan{planner: assess(f), ledger: before.revoking(f.revisions), withdrawal: true}
	if o.HMAC.Copy.Unknown {
		o.planUnseen(&plan, before)
		return plan
	}
	plan.step, plan.shown = o.nextWithdrawal(&plan, before)
	return plan
}

// withdraw ends an HMAC secret that is no longer wanted. What is in the Secret stays. The ledger is emptied first, unless the
// replica cannot be read: then only the ledger knows what to remove from it.
func (o *ChatbotObservation) withdraw() hmacPlan {
	ledger, deleted := LedgerOf(&o.Chatbot.Status), !o.Chatbot.DeletionTimestamp.IsZero()
	unpruned := o.unpruned(ledger.Revisions())
	switch c := o.HMAC.Copy; {
	case o.HMAC.Refusal != nil:
	case c.Unknown && c.There:
		return hmacPlan{step: DeleteCopy}
	case c.Unknown && len(unpruned) > 0:
		return hmacPlan{step: PruneCopy, kids: unpruned}
	case !deleted && !ledger.Empty():
		return hmacPlan{step: WriteLedger}
	case c.There:
		return hmacPlan{step: DeleteCopy}
	}
	return hmacPlan{}
}

// planUnseen plans for a replica that cannot be read. What may no longer verify can be removed from it all the same, because a
// patch needs no read. An earlier or announced revision stays in the ledger until it is known not to be in the replica: the ledger
// is all that is left to remove it by.
func (o *ChatbotObservation) planUnseen(plan *hmacPlan, before Ledger) {
	verifying := plan.ledger.verifying(plan.ledger.hashes(), &plan.planner.horizon)
	plan.kids = o.unpruned(o.withoutHandled(before.without(verifying)))
	plan.ledger.Pending = before.Pending
	plan.ledger.Previous = verifying.Previous
	if previous := before.Previous; previous != nil && slices.Contains(plan.kids, previous.KID) {
		plan.ledger.Previous = previous
	}
	switch {
	case len(plan.kids) > 0 && !o.copyRefused():
		plan.step = PruneCopy
	case !plan.ledger.Equal(before):
		plan.step = WriteLedger
	}
	plan.shown = plan.ledger
}

// withoutHandled leaves out the revisions whose revocation is reported as handled: the replica had lost them by then.
func (o *ChatbotObservation) withoutHandled(revisions []*v1alpha1.IdentityRevision) []*v1alpha1.IdentityRevision {
	handled := o.Chatbot.Status.LastHandledRequest
	if handled == nil || handled.RevokeIssuedBefore == nil {
		return revisions
	}
	return slices.DeleteFunc(revisions, func(r *v1alpha1.IdentityRevision) bool { return !r.IssuedAt.After(handled.RevokeIssuedBefore.Time) })
}

// unpruned returns the kids of the revisions that may be in a replica that cannot be read.
func (o *ChatbotObservation) unpruned(revisions []*v1alpha1.IdentityRevision) []string {
	var kids []string
	for _, revision := range revisions {
		if !o.HMAC.Copy.Pruned[revision.KID] {
			kids = append(kids, revision.KID)
		}
	}
	return kids
}

// revoking returns the ledger after the revocations among its revisions. A revoked revision stays only as the
// current one, as in ledgerAfter.
func (l Ledger) revoking(revisions []*Revision) Ledger {
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
func (o *ChatbotObservation) nextWithdrawal(plan *hmacPlan, before Ledger) (ChatbotStep, Ledger) {
	c := o.HMAC.Copy
	switch {
	case !plan.ledger.Equal(before):
		return WriteLedger, plan.ledger
	case o.copyRefused() || !c.There:
		return "", plan.ledger
	}
	allowed := plan.ledger.verifying(plan.ledger.hashes(), &plan.planner.horizon)
	if kept := c.Shows.verifying(allowed.hashes(), &plan.planner.horizon); !kept.Equal(c.Shows) {
		return WriteCopy, kept
	}
	return "", plan.ledger
}

func (o *ChatbotObservation) copyRefused() bool {
	return o.HMAC.Refusal != nil && o.HMAC.Refusal.Reason == v1alpha1.CopyWriteRefusedReason
}

// hmacUnknown reports whether something could not be read that decides on the chatbot's HMAC secret.
func (o *ChatbotObservation) hmacUnknown() bool {
	return o.Failed.Any(ReadClaim, ReadSecret, ReadCopy, ReadSource)
}

// failedObstacle reports the failed reads. That the copy cannot be written is worse: what was revoked may still verify.
func (o *ChatbotObservation) failedObstacle(now time.Time) *obstacle {
	if o.copyRefused() {
		return o.refused(o.HMAC.Refusal, now)
	}
	return o.Failed.obstacle("Revocation takes effect without this read; until it succeeds, nothing is issued, published or repaired. The operator retries", o.Chatbot.Status.Conditions, now)
}
