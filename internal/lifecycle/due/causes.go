// SPDX-License-Identifier: Apache-2.0

// Package due decides why a revision is due (causes.go), and by when (times.go). It does not know what may keep the revision from being issued.
package due

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// Findings are what causes are judged by: what is known, and what happened to the key that should be published.
type Findings struct {
	*facts.Known
	// Loss is what happened to the Secret or to the record of the key in it; empty if nothing did, or if a read failed.
	Loss v1alpha1.Cause
}

// Due is why a revision is due.
type Due struct {
	Findings
	// Cause is empty if no revision is due, or if a read failed.
	Cause v1alpha1.Cause
}

// Of returns why a revision is due.
func Of(k *facts.Known) *Due {
	if len(k.Failed) > 0 {
		return &Due{Findings: Findings{Known: k}}
	}
	findings := Findings{Known: k, Loss: findLoss(k)}
	return &Due{Findings: findings, Cause: findCause(&findings)}
}

// findLoss returns what happened to the key that should be published; empty if nothing did.
func findLoss(k *facts.Known) v1alpha1.Cause {
	switch {
	case k.Published != nil:
		return ""
	case k.Secret.State == revisions.SecretOwned && k.Matched == nil && recordLost(k):
		return v1alpha1.CauseRecordLost
	case !everPublished(k):
		return ""
	case k.Secret.State == revisions.SecretOwned:
		return v1alpha1.CauseSecretAltered
	}
	return v1alpha1.CauseSecretLost
}

// recordLost reports whether the Secret holds a key of this owner whose record is gone. The status shows its ID (only the operator can
// write it), or there is no record left at all to contradict. Any other key text in the Secret counts as junk: SecretAltered.
func recordLost(k *facts.Known) bool {
	if k.Secret.KeyID == "" {
		return false
	}
	for _, record := range k.Owned {
		if record.ID == k.Secret.KeyID {
			return false
		}
	}
	current := k.Was.Current
	return len(k.Owned) == 0 || (current != nil && current.ID == k.Secret.KeyID)
}

// everPublished reports whether a revision has been in the Secret. Records alone do not show that: a record is created before its
// revision is published. If the first attempt stopped between the two writes, there is no owned Secret, status.binding is not set, and
// all records are first issues that nothing superseded.
func everPublished(k *facts.Known) bool {
	if k.Was.IsBound || k.Was.Current != nil {
		return true
	}
	if k.Secret.State == revisions.SecretOwned && len(k.Owned) > 0 {
		return true
	}
	return slices.ContainsFunc(k.Owned, func(r *revisions.Revision) bool {
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
	{v1alpha1.CauseRecordLost, func(f *Findings) bool { return f.Loss == v1alpha1.CauseRecordLost }},
	{v1alpha1.CauseFirstIssue, func(f *Findings) bool { return f.Published == nil && f.Loss == "" }},
	{v1alpha1.CauseRevocation, (*Findings).isRevocationDue},
	{v1alpha1.CauseReactivation, (*Findings).isRevoked},
	{v1alpha1.CauseExpiryChanged, (*Findings).expiryMovedLater},
	{v1alpha1.CauseRequest, (*Findings).isRotationRequested},
	{v1alpha1.CauseSchedule, (*Findings).isScheduled},
	// A loss comes last because every other cause serves it as well, undamped.
	{v1alpha1.CauseSecretLost, func(f *Findings) bool { return f.Loss == v1alpha1.CauseSecretLost }},
	{v1alpha1.CauseSecretAltered, func(f *Findings) bool { return f.Loss == v1alpha1.CauseSecretAltered }},
}

// findCause returns why a revision is due; empty where none is.
func findCause(f *Findings) v1alpha1.Cause {
	for _, rule := range causes {
		if rule.holds(f) {
			return rule.cause
		}
	}
	return ""
}

// isRotationRequested reports whether a request for a rotation covers the newest known revision. With every record the requests that they
// satisfied are forgotten: then a loss is the cause.
func (f *Findings) isRotationRequested() bool {
	reference := f.Reference()
	return reference != nil && f.Requests.Rotate.Covers(f.satisfied(reference))
}

// isRevocationDue reports whether a revocation covers the newest known revision.
func (f *Findings) isRevocationDue() bool {
	reference := f.Reference()
	if reference == nil {
		return false
	}
	if f.isOutlived(reference) {
		return f.Requests.Revoke.Covers(f.satisfied(reference))
	}
	return f.Requests.Revoke.Covers(reference.RevocableFrom())
}

// isRevoked reports whether the newest known revision is revoked, so that the key needs another one to verify again.
func (f *Findings) isRevoked() bool {
	reference := f.Reference()
	return reference != nil && reference.State == v1alpha1.StateRevoked && !f.isOutlived(reference)
}

// expiryMovedLater reports whether the key expires later than its published revision, whose time bound only a new one can move.
func (f *Findings) expiryMovedLater() bool {
	return f.endMayMove() && (f.Wants.ExpiresAt == nil || f.Published.NotAfter.Before(f.Wants.ExpiresAt))
}

func (f *Findings) isScheduled() bool {
	reference := f.Reference()
	if reference == nil {
		return false
	}
	due := f.Scheduled(f.satisfied(reference))
	return due != nil && f.Reached(due.Time)
}

// satisfied is when the newest revision was issued that is known of.
func (f *Findings) satisfied(reference *revisions.Revision) metav1.Time {
	if f.isOutlived(reference) {
		return f.Was.Current.IssuedAt
	}
	return reference.IssuedAt
}

// isOutlived reports whether the status remembers a newer revision than the newest record: its record is gone, and the
// requests that it satisfied are judged by what the status says of it.
func (f *Findings) isOutlived(reference *revisions.Revision) bool {
	current := f.Was.Current
	return f.Published == nil && current != nil && current.Number > reference.Number
}

// IssuesFirst reports whether the next revision would be the key's first, as far as can be proven. Records and status.current, which
// only the operator may write, prove an earlier one, each alone: the loss of one stops no key, and the loss of both grants nothing.
// The Secret proves nothing, since any user of the namespace may write it.
func (d *Due) IssuesFirst() bool {
	return d.Cause == v1alpha1.CauseFirstIssue || d.Cause != "" && d.Highest == 0
}
