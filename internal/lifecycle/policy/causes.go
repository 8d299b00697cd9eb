// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// Findings are what causes are judged by: what is known, and what happened to the key that should be published.
type Findings struct {
	*Known
	// Loss is what happened to the Secret or to the record of the key in it; empty if nothing did, or if a read failed.
	Loss v1alpha1.Cause
}

// Due is why a revision is due.
type Due struct {
	Findings
	// Cause is empty if no revision is due, or if a read failed.
	Cause v1alpha1.Cause
}

// dueOf returns why a revision is due.
func dueOf(k *Known) *Due {
	if len(k.Failed) > 0 {
		return &Due{Findings: Findings{Known: k}}
	}
	findings := Findings{Known: k, Loss: findLoss(k)}
	return &Due{Findings: findings, Cause: findCause(&findings)}
}

// findLoss returns what happened to the key that should be published; empty if nothing did.
func findLoss(p *Known) v1alpha1.Cause {
	switch {
	case p.Published != nil:
		return ""
	case p.Secret.State == revisions.SecretOwned && p.Matched == nil && recordLost(p):
		return v1alpha1.CauseRecordLost
	case !everPublished(p):
		return ""
	case p.Secret.State == revisions.SecretOwned:
		return v1alpha1.CauseSecretAltered
	}
	return v1alpha1.CauseSecretLost
}

// recordLost reports whether the Secret holds a key of this owner whose record is gone. The status shows its ID (only the operator can
// write it), or there is no record left at all to contradict. Any other key text in the Secret counts as junk: SecretAltered.
func recordLost(p *Known) bool {
	if p.Secret.KeyID == "" {
		return false
	}
	for _, record := range p.Owned {
		if record.ID == p.Secret.KeyID {
			return false
		}
	}
	current := p.Was.Current
	return len(p.Owned) == 0 || (current != nil && current.ID == p.Secret.KeyID)
}

// everPublished reports whether a revision has been in the Secret. Records alone do not show that: a record is created before its
// revision is published. If the first attempt stopped between the two writes, there is no owned Secret, status.binding is not set, and
// all records are first issues that nothing superseded.
func everPublished(p *Known) bool {
	if p.Was.IsBound || p.Was.Current != nil {
		return true
	}
	if p.Secret.State == revisions.SecretOwned && len(p.Owned) > 0 {
		return true
	}
	return slices.ContainsFunc(p.Owned, func(r *revisions.Revision) bool {
		return r.Cause != v1alpha1.CauseFirstIssue || r.SupersededBy != 0
	})
}

// causes are why a revision may be due, whether or not something keeps it from being issued. The first that holds is named on the record:
// one revision serves all of them.
var causes = []struct {
	cause v1alpha1.Cause
	holds func(*Findings) bool
}{
	// The key in the Secret does not verify: nothing is more urgent.
	{v1alpha1.CauseRecordLost, func(p *Findings) bool { return p.Loss == v1alpha1.CauseRecordLost }},
	{v1alpha1.CauseFirstIssue, func(p *Findings) bool { return p.Published == nil && p.Loss == "" }},
	{v1alpha1.CauseRevocation, (*Findings).isRevocationDue},
	{v1alpha1.CauseReactivation, (*Findings).isRevoked},
	{v1alpha1.CauseExpiryChanged, (*Findings).expiryMovedLater},
	{v1alpha1.CauseRequest, (*Findings).isRotationRequested},
	{v1alpha1.CauseSchedule, (*Findings).isScheduled},
	// A loss comes last because every other cause serves it as well, undamped.
	{v1alpha1.CauseSecretLost, func(p *Findings) bool { return p.Loss == v1alpha1.CauseSecretLost }},
	{v1alpha1.CauseSecretAltered, func(p *Findings) bool { return p.Loss == v1alpha1.CauseSecretAltered }},
}

// findCause returns why a revision is due; empty where none is.
func findCause(p *Findings) v1alpha1.Cause {
	for _, rule := range causes {
		if rule.holds(p) {
			return rule.cause
		}
	}
	return ""
}

// isRotationRequested reports whether a request for a rotation covers the newest known revision. With every record the requests that they
// satisfied are forgotten: then a loss is the cause.
func (p *Findings) isRotationRequested() bool {
	reference := p.Reference()
	return reference != nil && p.Requests.Rotate.Covers(p.satisfied(reference))
}

// isRevocationDue reports whether a revocation covers the newest known revision.
func (p *Findings) isRevocationDue() bool {
	reference := p.Reference()
	if reference == nil {
		return false
	}
	if p.isOutlived(reference) {
		return p.Requests.Revoke.Covers(p.satisfied(reference))
	}
	return p.Requests.Revoke.Covers(reference.RevocableFrom())
}

// isRevoked reports whether the newest known revision is revoked, so that the key needs another one to verify again.
func (p *Findings) isRevoked() bool {
	reference := p.Reference()
	return reference != nil && reference.State == v1alpha1.StateRevoked && !p.isOutlived(reference)
}

// expiryMovedLater reports whether the key expires later than its published revision, whose time bound only a new one can move.
func (p *Findings) expiryMovedLater() bool {
	return p.endMayMove() && (p.Wants.ExpiresAt == nil || p.Published.NotAfter.Before(p.Wants.ExpiresAt))
}

func (p *Findings) isScheduled() bool {
	reference := p.Reference()
	if reference == nil {
		return false
	}
	due := p.Scheduled(p.satisfied(reference))
	return due != nil && p.Reached(due.Time)
}

// satisfied is when the newest revision was issued that is known of.
func (p *Findings) satisfied(reference *revisions.Revision) metav1.Time {
	if p.isOutlived(reference) {
		return p.Was.Current.IssuedAt
	}
	return reference.IssuedAt
}

// isOutlived reports whether the status remembers a newer revision than the newest record: its record is gone, and the
// requests that it satisfied are judged by what the status says of it.
func (p *Findings) isOutlived(reference *revisions.Revision) bool {
	current := p.Was.Current
	return p.Published == nil && current != nil && current.Number > reference.Number
}

// IssuesFirst reports whether the next revision would be the key's first, as far as can be proven. Records and status.current, which
// only the operator may write, prove an earlier one, each alone: the loss of one stops no key, and the loss of both grants nothing.
// The Secret proves nothing, since any user of the namespace may write it.
func (p *Due) IssuesFirst() bool {
	return p.Cause == v1alpha1.CauseFirstIssue || p.Cause != "" && p.Highest == 0
}
