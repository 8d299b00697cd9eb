// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"slices"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

// cause: the cause on a record is one that had come up since the revision before it was published, and no record's
// creation can answer for what an earlier one has answered already. This is promise 2.
func (j *judge) cause(r *recordStory) {
	last := j.publishedBefore(r.created)
	if j.issuedUnasked(r) && !j.anyRemoved(last, r.created) {
		j.fail(2, r.created, "revision %d was minted for a key that the audit has revoked", r.first.Spec.Revision)
	}
	if r.published != 0 && j.publishedBefore(r.published) != last {
		j.fail(3, r.published, "revision %d was minted for a Secret that had changed since", r.first.Spec.Revision)
	}
	if j.anyRemoved(last, r.created) && r.published == 0 {
		return // a manager that was slow may have met a name that had become free again: its key went nowhere
	}
	if r.published == 0 && last != nil && r.versions[0].at.Sub(last.publishedAt) < slowest && j.called(r, j.publishedBefore(last.published)) {
		return // minted for the Secret as it was before another manager published: it could not be published any more
	}
	if j.gone != 0 && j.gone < r.created && r.versions[0].at.Sub(j.goneAt) < slowest {
		return // minted for the key as it was before its deletion took its records away: it is collected with them
	}
	if !j.called(r, last) && !j.calledAfterRestore(r, last) && !j.calledAfterErasure(r, last) {
		revision := int64(0)
		if last != nil {
			revision = last.first.Spec.Revision
		}
		j.fail(2, r.created, "revision %d was minted for %s, which did not happen after revision %d (published: %t)",
			r.first.Spec.Revision, r.first.Spec.Cause, revision, r.published != 0)
	}
}

// calledAfterRestore: the test has put the key of an earlier revision back before the operator had noted that it was
// superseded. Nothing tells the two apart then, and the earlier one counts as the one in use.
func (j *judge) calledAfterRestore(r, last *recordStory) bool {
	restored := j.restored(last, r.created)
	return restored != nil && j.called(r, restored)
}

// calledAfterErasure: the test has deleted the record and taken the key out of the Secret. Nothing tells then that the
// revision ever was, nor what it answered.
func (j *judge) calledAfterErasure(r, last *recordStory) bool {
	if last == nil || !j.removedBetween(last, last.created, r.created) || !j.lost(last.published, r.created) && !j.altered(last, r.created) {
		return false
	}
	earlier := j.publishedBefore(last.published)
	return j.called(r, earlier) || j.calledAfterErasure(r, earlier)
}

// restored is the earlier record whose key the test put back after a publication; nil where it did not.
func (j *judge) restored(last *recordStory, to int64) *recordStory {
	if last == nil {
		return nil
	}
	var restored *recordStory
	for _, v := range j.secrets {
		if earlier := j.recordOf(v.hash); v.byUs && v.revision > last.published && v.revision < to && earlier != nil && earlier != last {
			restored = earlier
		}
	}
	return restored
}

// slowest is how long a manager takes at most from reading the Secret to creating a record, pauses included.
const slowest = 15 * time.Second

// called reports whether a record's cause is in the history between the publication before it and its creation.
func (j *judge) called(r, last *recordStory) bool {
	cause := r.first.Spec.Cause
	if last == nil {
		// Until a first revision is published, requests and cut-offs may come first; nothing else can.
		return cause == v1alpha1.CauseFirstIssue || j.answers(r, time.Time{}) || j.reactivated(r, nil)
	}
	since := last.published
	switch cause {
	case v1alpha1.CauseFirstIssue:
		// The Secret and everything that tells of it were lost at once: the record alone does not say it was published.
		return last.first.Spec.Cause == v1alpha1.CauseFirstIssue && j.lost(since, r.created)
	case v1alpha1.CauseSecretLost:
		return j.lost(since, r.created)
	case v1alpha1.CauseSecretAltered:
		return j.altered(last, r.created) || j.removedBetween(last, since, r.created)
	case v1alpha1.CauseRecordLost:
		return j.removedBetween(last, since, r.created)
	case v1alpha1.CauseRequest, v1alpha1.CauseRevocation:
		return j.answers(r, last.first.Spec.IssuedAt.Time)
	case v1alpha1.CauseReactivation:
		return j.reactivated(r, last)
	case v1alpha1.CauseExpiryChanged:
		return last.at(r.created).Spec.NotAfter != nil && j.ever(0, r.created, func(k *v1alpha1.DGbotAPIKey) bool {
			return k.Spec.ExpiresAt != nil && k.Spec.ExpiresAt.Equal(last.at(r.created).Spec.NotAfter)
		})
	case v1alpha1.CauseSchedule:
		return j.ever(0, r.created, func(k *v1alpha1.DGbotAPIKey) bool {
			if k.Spec.Rotation == nil || k.Spec.Rotation.Interval == nil {
				return false
			}
			interval := k.Spec.Rotation.Interval.Duration
			return !last.first.Spec.IssuedAt.Add(interval - interval/10).After(r.first.Spec.IssuedAt.Time)
		})
	}
	return false
}

// answers reports whether a request or cut-off had been made that the previous revision did not satisfy and this revision does.
func (j *judge) answers(r *recordStory, satisfied time.Time) bool {
	asked := requests
	switch r.first.Spec.Cause {
	case v1alpha1.CauseRevocation:
		asked = cutOffs
	case v1alpha1.CauseRequest:
	default:
		return false
	}
	return j.ever(0, r.created, func(k *v1alpha1.DGbotAPIKey) bool {
		return slices.ContainsFunc(asked(k), func(at time.Time) bool { return !at.Before(satisfied) && at.Before(r.first.Spec.IssuedAt.Time) })
	})
}

func (j *judge) reactivated(r, last *recordStory) bool {
	if r.first.Spec.Cause != v1alpha1.CauseReactivation {
		return false
	}
	if last != nil && j.ever(last.published, r.created, func(k *v1alpha1.DGbotAPIKey) bool { return k.Spec.State == v1alpha1.StateRevoked }) {
		return true
	}
	for _, earlier := range j.records {
		if earlier.created < r.created && (last == nil || earlier.created >= last.created) && earlier.at(r.created).Spec.State == v1alpha1.StateRevoked {
			return true
		}
	}
	return false
}

// lost reports whether the Secret was gone at some time between two revisions.
func (j *judge) lost(from, to int64) bool {
	for _, v := range j.secrets {
		if v.revision > from && v.revision < to && !v.exists {
			return true
		}
	}
	return false
}

// altered reports whether the test put something else into the Secret after a publication.
func (j *judge) altered(last *recordStory, to int64) bool {
	for _, v := range j.secrets {
		if v.revision > last.published && v.revision < to && v.exists && v.byUs && v.hash != last.first.Spec.Hash {
			return true
		}
	}
	return false
}

func (j *judge) removedBetween(last *recordStory, from, to int64) bool {
	return j.removed(last.first) && last.gone > from && last.gone < to
}

func (j *judge) anyRemoved(last *recordStory, to int64) bool {
	for _, r := range j.records {
		if j.removed(r.first) && r.gone != 0 && r.gone < to && (last == nil || r.gone > last.created) {
			return true
		}
	}
	return false
}
