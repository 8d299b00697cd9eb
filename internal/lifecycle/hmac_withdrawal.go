// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
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
	key := asKey(o.Chatbot, &o.Chatbot.Status)
	observation := Observation{Subject: &hmacSubject, Key: key, Secret: Secret{State: SecretUnknown}, Failed: o.Failed}
	for _, revision := range before.Revisions() {
		observation.Records = append(observation.Records, asRecord(revision, key, nil))
	}
	for _, step := range Plan(observation, now).Steps {
		amendment, ok := step.(AmendRecord)
		for i := range observation.Records {
			if ok && observation.Records[i].Name == amendment.Name {
				amendment.ApplyTo(&observation.Records[i])
			}
		}
	}
	plan := hmacPlan{planner: assess(observation, now), ledger: before.revoking(observation.Records), withdrawal: true}
	plan.step, plan.shown = o.nextWithdrawal(&plan, before, now)
	return plan
}

// revoking returns the ledger after the revocations in the records that stand for it. A revoked revision stays only as the
// current one, as in ledgerAfter.
func (l Ledger) revoking(records []v1alpha1.DGbotAPIKeyRecord) Ledger {
	revoked := map[string]bool{}
	for i := range records {
		revoked[records[i].Name] = records[i].Spec.State == v1alpha1.StateRevoked
	}
	if l.Current != nil && revoked[recordName(l.Current)] {
		l.Current = l.Current.DeepCopy()
		l.Current.Revoked = true
	}
	if l.Previous != nil && revoked[recordName(l.Previous)] {
		l.Previous = nil
	}
	if l.Pending != nil && revoked[recordName(l.Pending)] {
		l.Pending = nil
	}
	return l
}

// nextWithdrawal returns the next step: the ledger first, then the copy. A copy that cannot be read cannot be shortened; it is
// deleted once nothing in it may verify.
func (o *ChatbotObservation) nextWithdrawal(plan *hmacPlan, before Ledger, now time.Time) (ChatbotStep, Ledger) {
	c := o.HMAC.Copy
	known := map[string]bool{}
	for _, revision := range plan.ledger.Revisions() {
		known[revision.Hash] = true
	}
	verifying := plan.ledger.verifying(known, now)
	switch {
	case !plan.ledger.Equal(before):
		return WriteLedger, plan.ledger
	case o.copyRefused() || !c.There:
		return "", plan.ledger
	case c.Unknown && verifying.Empty():
		return DeleteCopy, Ledger{}
	case c.Unknown:
		return "", plan.ledger
	}
	allowed := map[string]bool{}
	for _, revision := range verifying.Revisions() {
		allowed[revision.Hash] = true
	}
	if kept := c.Shows.verifying(allowed, now); !kept.Equal(c.Shows) {
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
	return o.Failed.obstacle("Revocation and deletion are applied all the same, as far as they depend on the chatbot alone; until the read succeeds, nothing is issued, published or repaired. "+
		"The operator retries by itself", o.Chatbot.Status.Conditions, now)
}
