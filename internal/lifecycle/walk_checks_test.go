// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/gates"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// applyChecked carries out a step and asserts what must hold across any single write of the operator.
func (w *walk) applyChecked(step steps.Step) {
	before := map[string]v1alpha1.DGbotAPIKeyRecord{}
	for _, r := range w.sim.Records {
		before[r.Name] = *r.DeepCopy()
	}
	inUse, good := w.inUse(), false
	if inUse != nil {
		good = standing.Admit(inUse, w.sim.Now) == standing.Admitted
	}
	w.sim.Apply(step)
	for _, r := range w.sim.Records {
		old, existed := before[r.Name]
		if !existed {
			continue
		}
		if old.Spec.State == v1alpha1.StateRevoked && r.Spec.State != v1alpha1.StateRevoked {
			w.failf("revision %d was revoked and is %s", r.Spec.Revision, r.Spec.State)
		}
		w.checkRetirement(&old, &r)
		w.checkAudit(&old, &r)
		if old.Spec.NotAfter != nil && (r.Spec.NotAfter == nil || r.Spec.NotAfter.After(old.Spec.NotAfter.Time)) {
			w.failf("revision %d: notAfter moved from %s to %s", r.Spec.Revision, old.Spec.NotAfter, r.Spec.NotAfter)
		}
	}
	if _, issued := step.(steps.IssueRevision); issued || !good {
		return
	}
	// The key in the Secret must go on verifying, except where that was asked for.
	spec, after := &w.sim.Key.Spec, w.inUse()
	askedFor := effective.StateOf(w.sim.Key) != v1alpha1.StateActive ||
		w.cutOff(inUse.Spec.IssuedAt) ||
		(spec.ExpiresAt != nil && !w.sim.Now.Before(spec.ExpiresAt.Time)) ||
		w.secretAltered || w.auditMayDisable()
	if !askedFor && (after == nil || standing.Admit(after, w.sim.Now) != standing.Admitted) {
		w.failf("%+v ended the key in use", step)
	}
}

// inUse is the record of the bytes in the Secret.
func (w *walk) inUse() *v1alpha1.DGbotAPIKeyRecord {
	for i := range w.sim.Records {
		if r := &w.sim.Records[i]; w.sim.Secret.State == revisions.SecretOwned && r.Spec.Hash == w.sim.Secret.Hash {
			return r.DeepCopy()
		}
	}
	return nil
}

func (w *walk) requestTimes() (rotate, revoke []*metav1.Time) {
	if r := w.sim.Key.Spec.Rotation; r != nil {
		rotate, revoke = append(rotate, r.RequestedAt), append(revoke, r.RevokeIssuedBefore)
	}
	if text, ok := w.sim.Key.Annotations[v1alpha1.RotateRequestedAtAnnotation]; ok {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			w.t.Fatal(err)
		}
		rotate = append(rotate, at(parsed))
	}
	return rotate, revoke
}

func dueSince(times []*metav1.Time, issuedAt metav1.Time, now time.Time) bool {
	for _, t := range times {
		if t != nil && !t.After(now) && !issuedAt.After(t.Time) {
			return true
		}
	}
	return false
}

func (w *walk) cutOff(issuedAt metav1.Time) bool {
	_, revoke := w.requestTimes()
	return dueSince(revoke, issuedAt, w.sim.Now)
}

func (w *walk) record(revision int64) *v1alpha1.DGbotAPIKeyRecord {
	for i := range w.sim.Records {
		if w.sim.Records[i].Spec.Revision == revision {
			return &w.sim.Records[i]
		}
	}
	return nil
}

// checkIssue judges a mint by what was done to the key.
func (w *walk) checkIssue(issue steps.IssueRevision) {
	w.checkChatbotOf(issue)
	w.checkRulesOf(issue)
	w.checkAuditOf(issue)
	w.mintedThisWalk++
	spec, now := &w.sim.Key.Spec, w.sim.Now
	if effective.StateOf(w.sim.Key) != v1alpha1.StateActive || (spec.ExpiresAt != nil && !now.Before(spec.ExpiresAt.Time)) {
		w.failf("minted although %s, expiresAt %s", spec.State, spec.ExpiresAt)
	}
	rotate, revoke := w.requestTimes()
	if issue.IssuedAt.After(now.Add(time.Second)) || dueSince(rotate, issue.IssuedAt, now) || dueSince(revoke, issue.IssuedAt, now) {
		w.failf("issuedAt %s does not satisfy its requests or lies ahead", issue.IssuedAt)
	}
	if w.record(issue.Revision) != nil {
		w.failf("revision %d exists", issue.Revision)
	}
	if w.sim.Rejection != nil || w.sim.Secret.State == revisions.SecretForeign || w.sim.Secret.State == revisions.SecretCollectable {
		w.failf("minted for a Secret that is %s, refusal %+v", w.sim.Secret.State, w.sim.Rejection)
	}
	last := w.record(w.lastPublished)
	newest := last
	for i := range w.sim.Records {
		if newest == nil || w.sim.Records[i].Spec.Revision > newest.Spec.Revision {
			newest = &w.sim.Records[i]
		}
	}
	lost := w.secretDeleted || w.secretAltered || w.recordDeleted
	// With the Secret lost, requests may be judged by an unpublished newer record, never by an older one.
	var legitimate bool
	switch issue.Cause {
	case v1alpha1.CauseFirstIssue:
		// With the Secret and the status gone at once, nothing tells that the first revision was published.
		legitimate = !w.everPublished || len(w.sim.Records) == 0 || w.recordDeleted || w.evidenceLost
	case v1alpha1.CauseRequest:
		legitimate = last != nil && dueSince(rotate, last.Spec.IssuedAt, now) || lost && newest != nil && dueSince(rotate, newest.Spec.IssuedAt, now)
	case v1alpha1.CauseRevocation:
		legitimate = last != nil && w.cutOff(last.Spec.IssuedAt) || newest != nil && w.cutOff(newest.Spec.IssuedAt)
	case v1alpha1.CauseSchedule:
		legitimate = w.scheduleDue(last) || lost && w.scheduleDue(newest)
	case v1alpha1.CauseSecretLost:
		legitimate = w.secretDeleted
		w.lossMints = append(w.lossMints, now)
	case v1alpha1.CauseSecretAltered:
		legitimate = w.secretAltered || w.recordDeleted
		w.lossMints = append(w.lossMints, now)
	case v1alpha1.CauseRecordLost:
		legitimate = w.recordDeleted
	case v1alpha1.CauseReactivation:
		legitimate = newest != nil && newest.Spec.State == v1alpha1.StateRevoked || last != nil && last.Spec.State == v1alpha1.StateRevoked
	case v1alpha1.CauseExpiryChanged:
		legitimate = last != nil && last.Spec.NotAfter != nil && (spec.ExpiresAt == nil || spec.ExpiresAt.After(last.Spec.NotAfter.Time))
	}
	if !legitimate {
		w.failf("revision %d minted for %s, which did not happen (deleted %v, altered %v, record deleted %v, last %+v)",
			issue.Revision, issue.Cause, w.secretDeleted, w.secretAltered, w.recordDeleted, last)
	}
	w.checkDamping()
}

func (w *walk) scheduleDue(r *v1alpha1.DGbotAPIKeyRecord) bool {
	if r == nil {
		return false
	}
	interval := w.intervalByRules(r)
	return interval > 0 && w.sim.Now.Sub(r.Spec.IssuedAt.Time) > interval*9/10
}

func (w *walk) checkDamping() {
	if w.clockSetBack {
		return // the hour is not an hour of one clock then
	}
	recent := 0
	for _, minted := range w.lossMints {
		if w.sim.Now.Sub(minted) < time.Hour {
			recent++
		}
	}
	if most := revisions.DampingFree + int(time.Hour/revisions.DampingInterval); recent > most {
		w.failf("%d replacements within an hour, at most %d are allowed", recent, most)
	}
}

// checkSomethingComes asserts that what waits is woken, and that what is out of place waits for a reason.
func (w *walk) checkSomethingComes(decision Decision) {
	reconciling := apimeta.FindStatusCondition(decision.Status.Conditions, v1alpha1.ReconcilingCondition)
	stalled := apimeta.FindStatusCondition(decision.Status.Conditions, v1alpha1.StalledCondition)
	// A chatbot that comes is seen to come: it is watched.
	if reconciling != nil && decision.Wake.IsZero() && reconciling.Reason != v1alpha1.WaitingForChatbotReason {
		w.failf("%s is to pass by itself, and nothing wakes: %s", reconciling.Reason, reconciling.Message)
	}
	if w.sim.Secret.State == revisions.SecretOwned && w.sim.Secret.Drifted && w.sim.Rejection == nil {
		w.failf("the Secret is left altered")
	}
	if cause := gates.Assess(w.sim.facts(w.sim.Now)).Cause; cause != "" && reconciling == nil && stalled == nil {
		w.failf("a revision is due (%s), and nothing says why there is none", cause)
	}
	inUse := w.inUse()
	for i := range w.sim.Records {
		r := &w.sim.Records[i]
		attempt := inUse != nil && inUse.Spec.Revision == w.lastPublished && r.Spec.Revision > w.lastPublished
		if attempt && r.Spec.NotAfter == nil && w.sim.Now.Sub(r.CreationTimestamp.Time) > steps.PublishGrace && w.sim.Now.Sub(r.Spec.IssuedAt.Time) > steps.PublishGrace && r.Spec.State == v1alpha1.StateActive {
			w.failf("revision %d was never published and has no end", r.Spec.Revision)
		}
	}
}

// checkAtRest asserts what must hold when nothing is left to do.
func (w *walk) checkAtRest(decision Decision) {
	w.checkChatbotAtRest()
	spec, now := &w.sim.Key.Spec, w.sim.Now
	ready := apimeta.FindStatusCondition(decision.Status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil {
		w.failf("no condition Ready")
		return
	}
	inUse := w.inUse()
	if ready.Status == metav1.ConditionTrue && (inUse == nil || standing.Admit(inUse, now) != standing.Admitted || inUse.Spec.Revision != w.lastPublished) {
		w.failf("Ready, but the Secret holds %+v", inUse)
	}
	waits := apimeta.FindStatusCondition(decision.Status.Conditions, v1alpha1.ReconcilingCondition)
	failing := waits != nil && strings.Contains(waits.Message, "attempts to publish") && decision.Wake.Sub(now) <= report.MaxRetryDelay
	if ready.Status != metav1.ConditionTrue && !failing && (ready.Reason == v1alpha1.ProgressingReason || ready.Reason == v1alpha1.IssuedReason) {
		w.failf("at rest, but not Ready for reason %s", ready.Reason)
	}
	w.checkSomethingComes(decision)
	w.checkLingering(decision.Status)
	// A revision beyond the limit ends when the one in use was issued; after the clock was set back that may be later.
	settled := now.Add(2 * time.Second)
	if inUse != nil && inUse.Spec.IssuedAt.After(settled) {
		settled = inUse.Spec.IssuedAt.Time
	}
	previous, endedRecords := 0, 0
	for i := range w.sim.Records {
		r := &w.sim.Records[i]
		switch {
		case w.cutOff(r.Spec.IssuedAt) && r.Spec.State != v1alpha1.StateRevoked:
			w.failf("revision %d was to be revoked", r.Spec.Revision)
		case spec.State == v1alpha1.StateRevoked && r.Spec.State != v1alpha1.StateRevoked,
			spec.State == v1alpha1.StateDisabled && r.Spec.State == v1alpha1.StateActive:
			w.failf("revision %d is %s, the key is %s", r.Spec.Revision, r.Spec.State, spec.State)
		case spec.ExpiresAt != nil && !standing.Of(r).Ended(now) && standing.Admit(r, spec.ExpiresAt.Time) == standing.Admitted:
			w.failf("revision %d outlives expiresAt", r.Spec.Revision)
		}
		if standing.Of(r).Verifies(settled) && r.Spec.Revision < w.lastPublished {
			previous++
			if inUse != nil && inUse.Spec.Revision == w.lastPublished && r.Spec.NotAfter == nil {
				w.failf("revision %d is superseded and has no end", r.Spec.Revision)
			}
		}
		if (r.Spec.State == v1alpha1.StateRevoked || standing.Of(r).Ended(now)) && !revisions.CountsForDamping(revisions.Of(w.sim.Key, r), &instant.Horizon{Now: now}) {
			endedRecords++
		}
	}
	if inUse != nil && inUse.Spec.Revision == w.lastPublished && previous > facts.KeyKind.MaxPrevious {
		w.failf("%d earlier revisions verify", previous)
	}
	most := changes.KeptEnded + 2
	if pending := w.sim.Key.Status.Propagation; pending != nil && pending.ConfirmedAt == nil {
		most++ // the one with the last note
	}
	if endedRecords > most && (w.auditOf() == nil || endedRecords > most+1) {
		w.failf("%d ended records are kept", endedRecords)
	}
}
