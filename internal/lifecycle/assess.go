// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// planner is an observation with what follows from it.
type planner struct {
	// Observation has the key as its environment's rules let it be.
	Observation
	held  held
	audit audit
	// heldByAudit: the audit lets less of the key than its spec.
	heldByAudit bool
	now         time.Time
	requests    requests
	overlap     time.Duration
	// live are the records that name the key as their owner, newest first. Orphaned ones are dead and count only for
	// the number of the next revision.
	live    []*Revision
	highest int64
	// matched is the record whose hash the Secret's bytes match; nil if there is none. While the Secret is unknown it is the
	// one that the status remembers.
	matched *Revision
	// published is matched, unless it was superseded: then an older key was restored. Nil while the Secret is unknown.
	published *Revision
	// loss is what happened to the Secret or the record in it; empty if nothing, or if a read failed.
	loss v1alpha1.Cause
	// cause is why a revision is due; empty if none is, or if a read failed.
	cause v1alpha1.Cause
	// obstacle stands in the way; nil if nothing does.
	obstacle *obstacle
}

func assess(o Observation, now time.Time) *planner {
	held := hold(o.Key, &o.Environment, now)
	held.violateChatbot(&o)
	held.violateTemplate(o.Key.Spec.Secret)
	o.Key = held.key
	p := &planner{Observation: o, held: held, now: now, requests: readRequests(o.Key, now), overlap: Overlap(&o.Key.Spec)}
	for i := range p.Records {
		r := revisionOf(o.Key, &p.Records[i], now)
		p.highest = max(p.highest, r.Number, r.SupersededBy, r.nameNumber)
		if owned(&p.Records[i]) {
			p.live = append(p.live, r)
		}
	}
	// A record that was in use may be gone altogether.
	if current := o.Key.Status.Current; current != nil {
		p.highest = max(p.highest, current.Revision)
	}
	slices.SortFunc(p.live, func(a, b *Revision) int { return int(b.Number - a.Number) })
	if o.Secret.State == SecretUnknown {
		p.matched = p.remembered()
	} else if o.Secret.State == SecretOwned && o.Secret.Hash != "" {
		for _, record := range p.live {
			if record.Hash == o.Secret.Hash {
				p.matched = record
			}
		}
	}
	if p.matched != nil && p.matched.SupersededBy == 0 && o.Secret.State != SecretUnknown {
		p.published = p.matched
	}
	p.holdToAudit()
	if len(o.Failed) == 0 {
		p.loss = p.findLoss()
		p.cause = p.findCause()
	}
	p.obstacle = p.findObstacle()
	return p
}

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
	current := p.Key.Status.Current
	return len(p.live) == 0 || (current != nil && current.KeyID == p.Secret.KeyID)
}

// everPublished says whether a revision has been in the Secret. Records alone cannot tell: one is created before it is
// published. Where the first attempt stopped between the two, there is no Secret of ours, status.binding is not set, and
// all there is are first issues that nothing superseded.
func (p *planner) everPublished() bool {
	if p.Key.Status.Binding != nil || p.Key.Status.Current != nil {
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
	spec := &p.Key.Spec
	switch {
	case p.requests.revoke.covers(satisfied):
		return v1alpha1.CauseRevocation
	case reference.State == v1alpha1.StateRevoked && !p.outlived(reference):
		return v1alpha1.CauseReactivation
	case p.endMayMove() && (spec.ExpiresAt == nil || p.published.NotAfter.Before(spec.ExpiresAt)):
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
	return p.published != nil && p.published.NotAfter != nil && (p.held.lifetime == 0 || p.published.ended(p.now))
}

// reference is the revision that requests and schedule are judged by; nil where there is none.
func (p *planner) reference() *Revision {
	if p.published != nil || len(p.live) == 0 {
		return p.published
	}
	return p.live[0]
}

// satisfied is when the newest revision was issued that is known of.
func (p *planner) satisfied(reference *Revision) metav1.Time {
	if p.outlived(reference) {
		return p.Key.Status.Current.IssuedAt
	}
	return reference.IssuedAt
}

// outlived says whether the status remembers a newer revision than the newest record: its record is gone, and the
// requests that it satisfied are judged by what the status says of it.
func (p *planner) outlived(reference *Revision) bool {
	current := p.Key.Status.Current
	return p.published == nil && current != nil && current.Revision > reference.Number
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

// others are the revisions beside the matched one that verify, newest first.
func (p *planner) others() []*Revision {
	var others []*Revision
	for _, record := range p.live {
		if record != p.matched && record.verifies(p.now) {
			others = append(others, record)
		}
	}
	return others
}
