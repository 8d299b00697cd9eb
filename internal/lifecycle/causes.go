// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// findLoss returns what happened to the key that should be published; empty if nothing did.
func (p *planner) findLoss() v1alpha1.Cause {
	switch {
	case p.published != nil:
		return ""
	case p.Secret.State == SecretOwned && p.matched == nil && p.recordLost():
		return v1alpha1.CauseRecordLost
	case !p.everPublished():
		return ""
	case p.Secret.State == SecretOwned:
		return v1alpha1.CauseSecretAltered
	}
	return v1alpha1.CauseSecretLost
}

// recordLost reports whether the Secret holds a key of this owner whose record is gone. The status shows its ID (only the operator can
// write it), or there is no record left at all to contradict. Any other key text in the Secret counts as junk: SecretAltered.
func (p *planner) recordLost() bool {
	if p.Secret.KeyID == "" {
		return false
	}
	for _, record := range p.live {
		if record.ID == p.Secret.KeyID {
			return false
		}
	}
	current := p.was.current
	return len(p.live) == 0 || (current != nil && current.ID == p.Secret.KeyID)
}

// everPublished reports whether a revision has been in the Secret. Records alone do not show that: a record is created before its
// revision is published. If the first attempt stopped between the two writes, there is no owned Secret, status.binding is not set, and
// all records are first issues that nothing superseded.
func (p *planner) everPublished() bool {
	if p.was.isBound || p.was.current != nil {
		return true
	}
	if p.Secret.State == SecretOwned && len(p.live) > 0 {
		return true
	}
	return slices.ContainsFunc(p.live, func(r *Revision) bool {
		return r.Cause != v1alpha1.CauseFirstIssue || r.SupersededBy != 0
	})
}

// causes are why a revision may be due, whether or not something keeps it from being issued. The first that holds is named on the record:
// one revision serves all of them.
var causes = []struct {
	cause v1alpha1.Cause
	holds func(*planner) bool
}{
	// The key in the Secret does not verify: nothing is more urgent.
	{v1alpha1.CauseRecordLost, func(p *planner) bool { return p.loss == v1alpha1.CauseRecordLost }},
	{v1alpha1.CauseFirstIssue, func(p *planner) bool { return p.published == nil && p.loss == "" }},
	{v1alpha1.CauseRevocation, func(p *planner) bool { return p.isUnsatisfied(p.requests.revoke) }},
	{v1alpha1.CauseReactivation, (*planner).isRevoked},
	{v1alpha1.CauseExpiryChanged, (*planner).expiryMovedLater},
	{v1alpha1.CauseRequest, func(p *planner) bool { return p.isUnsatisfied(p.requests.rotate) }},
	{v1alpha1.CauseSchedule, (*planner).isScheduled},
	// A loss comes last because every other cause serves it as well, undamped.
	{v1alpha1.CauseSecretLost, func(p *planner) bool { return p.loss == v1alpha1.CauseSecretLost }},
	{v1alpha1.CauseSecretAltered, func(p *planner) bool { return p.loss == v1alpha1.CauseSecretAltered }},
}

// findCause returns why a revision is due; empty where none is.
func (p *planner) findCause() v1alpha1.Cause {
	for _, rule := range causes {
		if rule.holds(p) {
			return rule.cause
		}
	}
	return ""
}

// isUnsatisfied reports whether a request covers the newest known revision. With every record the requests that they satisfied are
// forgotten: then a loss is the cause.
func (p *planner) isUnsatisfied(r request) bool {
	reference := p.reference()
	return reference != nil && r.covers(p.satisfied(reference))
}

// isRevoked reports whether the newest known revision is revoked, so that the key needs another one to verify again.
func (p *planner) isRevoked() bool {
	reference := p.reference()
	return reference != nil && reference.State == v1alpha1.StateRevoked && !p.isOutlived(reference)
}

// expiryMovedLater reports whether the key expires later than its published revision, whose time bound only a new one can move.
func (p *planner) expiryMovedLater() bool {
	return p.endMayMove() && (p.wants.expiresAt == nil || p.published.NotAfter.Before(p.wants.expiresAt))
}

func (p *planner) isScheduled() bool {
	reference := p.reference()
	if reference == nil {
		return false
	}
	due := p.scheduled(p.satisfied(reference))
	return due != nil && p.reached(due.Time)
}

// endMayMove reports whether the published revision has an end that only a new one can move. An end that the rules of the environment
// have set is replaced on schedule instead: a longer limit is no reason to replace all keys at once.
func (p *planner) endMayMove() bool {
	return p.published != nil && p.published.NotAfter != nil && (p.lifetime == 0 || p.published.ended(&p.horizon))
}

// satisfied is when the newest revision was issued that is known of.
func (p *planner) satisfied(reference *Revision) metav1.Time {
	if p.isOutlived(reference) {
		return p.was.current.IssuedAt
	}
	return reference.IssuedAt
}

// isOutlived reports whether the status remembers a newer revision than the newest record: its record is gone, and the
// requests that it satisfied are judged by what the status says of it.
func (p *planner) isOutlived(reference *Revision) bool {
	current := p.was.current
	return p.published == nil && current != nil && current.Number > reference.Number
}

// issuedAt is when a revision issued now counts as issued: later than every request it serves, so that it satisfies
// them and survives the cut-off, and at most a second ahead of now.
func (p *planner) issuedAt() metav1.Time {
	at := p.now.UTC().Truncate(time.Second)
	for _, due := range []*metav1.Time{p.requests.rotate.due, p.requests.revoke.due} {
		if due != nil && !at.After(due.Time) {
			at = due.UTC().Add(time.Second)
		}
	}
	return metav1.Time{Time: at}
}
