// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// findLoss says whether the key that should be published still is.
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

// recordLost: the Secret holds a key that was ours. The status says so (nobody else can write it), or there is no record
// left at all to say otherwise. A key that was put into the Secret by somebody is not told apart from junk: SecretAltered.
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

// everPublished says whether a revision has been in the Secret. Records alone cannot tell: one is created before it is
// published. Where the first attempt stopped between the two, there is no Secret of ours, status.binding is not set, and
// all there is are first issues that nothing superseded.
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

// findCause says why a revision is due, whether or not something stands in its way. The order matters where several
// causes hold: one revision serves them all, and the first is named on its record. A loss comes last because every other
// cause serves it as well, undamped.
func (p *planner) findCause() v1alpha1.Cause {
	if p.loss == v1alpha1.CauseRecordLost {
		return v1alpha1.CauseRecordLost
	}
	if p.published == nil && p.loss == "" {
		return v1alpha1.CauseFirstIssue
	}
	if len(p.live) == 0 {
		return p.loss // with every record the requests they satisfied are forgotten
	}
	// Without a published revision, requests and schedule are judged by the newest record: judging them by older
	// bytes that somebody restored would count a request again that has been satisfied.
	reference := p.reference()
	satisfied := p.satisfied(reference)
	wants := &p.wants
	switch {
	case p.requests.revoke.covers(satisfied):
		return v1alpha1.CauseRevocation
	case reference.State == v1alpha1.StateRevoked && !p.outlived(reference):
		return v1alpha1.CauseReactivation
	case p.endMayMove() && (wants.expiresAt == nil || p.published.NotAfter.Before(wants.expiresAt)):
		return v1alpha1.CauseExpiryChanged
	case p.requests.rotate.covers(satisfied):
		return v1alpha1.CauseRequest
	}
	if due := p.scheduled(satisfied); due != nil && !due.After(p.now) {
		return v1alpha1.CauseSchedule
	}
	return p.loss
}

// endMayMove says whether the published revision has an end that only a new one can move. An end that the rules of the environment
// have set is replaced on schedule instead: a longer limit is no reason to replace all keys at once.
func (p *planner) endMayMove() bool {
	return p.published != nil && p.published.NotAfter != nil && (p.lifetime == 0 || p.published.ended(p.now))
}

// satisfied is when the newest revision was issued that is known of.
func (p *planner) satisfied(reference *Revision) metav1.Time {
	if p.outlived(reference) {
		return p.was.current.IssuedAt
	}
	return reference.IssuedAt
}

// outlived says whether the status remembers a newer revision than the newest record: its record is gone, and the
// requests that it satisfied are judged by what the status says of it.
func (p *planner) outlived(reference *Revision) bool {
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
