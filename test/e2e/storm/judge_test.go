// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// The judge reads the story of a key and says which promises of the contract's section 5 were broken. It goes by what
// stands in etcd and asks of every write of the operator what in the key's or the Secret's history called for it.

// verdict is a broken promise.
type verdict struct {
	promise  int
	revision int64
	text     string
}

func (v verdict) String() string {
	return fmt.Sprintf("promise %d broken at etcd revision %d: %s", v.promise, v.revision, v.text)
}

// judge returns the promises that were broken in a story. removed reports whether the test itself removed a record.
func (s *story) judge(removed func(record *v1alpha1.DGbotAPIKeyRecord) bool) []verdict {
	j := &judge{story: s, removed: removed}
	for _, r := range s.records {
		j.record(r)
		j.cause(r)
	}
	j.publications()
	return j.broken
}

type judge struct {
	*story
	removed func(*v1alpha1.DGbotAPIKeyRecord) bool
	broken  []verdict
}

func (j *judge) fail(promise int, revision int64, format string, args ...any) {
	j.broken = append(j.broken, verdict{promise, revision, j.namespace + "/" + j.name + " " + j.uid + ": " + fmt.Sprintf(format, args...)})
}

// publications: what the operator writes into the Secret has a record before, that is valid unless a user asked for
// its end; revisions only go up; no key is put back.
func (j *judge) publications() {
	highest := int64(0)
	before := secretVersion{}
	for _, v := range j.secrets {
		changed, appeared := v.exists && !v.byUs && v.hash != before.hash, !before.exists
		before = v
		if !changed || j.gone != 0 && j.gone < v.revision {
			continue // what a slow manager writes for a key that is gone is collected with it
		}
		r := j.recordOf(v.hash)
		if r == nil || r.created >= v.revision {
			j.fail(1, v.revision, "a key was published that is in no record")
			continue
		}
		revision := r.first.Spec.Revision
		if appeared && revision == highest && v.at.Sub(r.publishedAt) < slowest {
			continue // the write that created the Secret was repeated on the way, after the test had deleted it
		}
		if r.published != v.revision {
			j.fail(3, v.revision, "revision %d was put back", revision)
		}
		if revision <= highest && !j.forgotten(revision, v.revision) {
			j.fail(3, v.revision, "revision %d was published after revision %d", revision, highest)
		}
		highest = max(highest, revision)
		if r.gone != 0 && r.gone < v.revision && !j.removed(r.first) {
			j.fail(1, v.revision, "revision %d was published after its record was deleted", revision)
		}
	}
}

// forgotten: the test has deleted the record of that number, and with the Secret's bytes everything else that knew it.
func (j *judge) forgotten(number, before int64) bool {
	for _, r := range j.records {
		if r.first.Spec.Revision == number && r.gone != 0 && r.gone < before && j.removed(r.first) {
			return j.altered(r, before) || j.lost(r.published, before)
		}
	}
	return false
}

// record: what is written to a record is asked for by the key's history, and one-way.
func (j *judge) record(r *recordStory) {
	for _, other := range j.records {
		if other != r && other.first.Spec.Revision == r.first.Spec.Revision && !j.removed(other.first) && !j.removed(r.first) &&
			!j.deleted(max(r.created, other.created)) {
			j.fail(3, r.created, "two records of revision %d: %s and %s", r.first.Spec.Revision, r.first.Name, other.first.Name)
		}
	}
	before := r.first
	for i, v := range r.versions {
		if i > 0 {
			j.amendment(r, before, v)
		}
		before = v.record
	}
	if r.gone != 0 && !j.removed(r.first) && !j.deleted(r.gone) {
		j.deletion(r)
	}
}

// deletion: while its key is there, only a record that has ended or has lost its owner is deleted.
func (j *judge) deletion(r *recordStory) {
	last := r.versions[len(r.versions)-1].record
	if last.Spec.State == v1alpha1.StateRevoked || !metav1.IsControlledBy(last, j.versions[0].key) {
		return
	}
	if last.Spec.NotAfter == nil || last.Spec.NotAfter.After(r.goneAt.Add(clockError)) {
		j.fail(1, r.gone, "the record of revision %d was deleted while it verified", r.first.Spec.Revision)
	}
}

// deleted reports whether the key's deletion had begun before a revision.
func (j *judge) deleted(before int64) bool {
	return j.gone != 0 && j.gone < before || j.ever(0, before, func(k *v1alpha1.DGbotAPIKey) bool { return k.DeletionTimestamp != nil })
}

// clockError is how much later than the last tick before it a write can have happened, while the API server was down.
const clockError = 30 * time.Second

func (j *judge) amendment(r *recordStory, before *v1alpha1.DGbotAPIKeyRecord, v recordVersion) {
	was, is := before.Spec, v.record.Spec
	if was.Hash != is.Hash || was.KeyID != is.KeyID || was.Cause != is.Cause || was.Revision != is.Revision || !was.IssuedAt.Equal(&is.IssuedAt) {
		j.fail(4, v.revision, "revision %d was changed into another", was.Revision)
	}
	if was.State == v1alpha1.StateRevoked && is.State != was.State {
		j.fail(4, v.revision, "revision %d was revived", was.Revision)
	}
	if was.NotAfter != nil && (is.NotAfter == nil || is.NotAfter.After(was.NotAfter.Time)) {
		j.fail(4, v.revision, "the end of revision %d was moved later", was.Revision)
	}
	if was.State != is.State && is.State == v1alpha1.StateRevoked && !j.ever(r.created, v.revision, func(k *v1alpha1.DGbotAPIKey) bool {
		return k.Spec.State == v1alpha1.StateRevoked || covers(cutOffs(k), is.IssuedAt.Time, v.at.Add(clockError))
	}) && !j.deleted(v.revision) && !j.audited(v1alpha1.AuditRevoked, v.revision) {
		j.fail(1, v.revision, "revision %d was revoked and no user had asked for it", was.Revision)
	}
	if was.State != is.State && is.State == v1alpha1.StateDisabled && !j.ever(r.created, v.revision, func(k *v1alpha1.DGbotAPIKey) bool {
		return k.Spec.State == v1alpha1.StateDisabled
	}) && !j.audited(v1alpha1.AuditDisabled, v.revision) {
		j.fail(1, v.revision, "revision %d was disabled and no user had asked for it", was.Revision)
	}
	j.marked(before, v)
	if is.NotAfter != nil && !is.NotAfter.Equal(was.NotAfter) {
		j.ending(r, v)
	}
}

// ending: a record ends with the key, with the overlap after a newer revision was published, or because its own key
// never was.
func (j *judge) ending(r *recordStory, v recordVersion) {
	end := v.record.Spec.NotAfter.Time
	expires := func(k *v1alpha1.DGbotAPIKey) bool { return k.Spec.ExpiresAt != nil && k.Spec.ExpiresAt.Time.Equal(end) }
	if j.ever(r.created, v.revision, expires) {
		return
	}
	overlapEnd := func(from *recordStory) bool {
		return j.ever(0, v.revision, func(k *v1alpha1.DGbotAPIKey) bool { return from.first.Spec.IssuedAt.Add(overlapOf(k)).Equal(end) })
	}
	for _, newer := range j.records {
		if newer.published == 0 || newer.published >= v.revision || newer.first.Spec.Revision <= r.first.Spec.Revision {
			continue
		}
		if overlapEnd(newer) || (len(j.records) > 10 && newer.first.Spec.IssuedAt.Time.Equal(end)) {
			return
		}
	}
	// Where the test has taken the key out of the Secret again, its minter cannot know that it was there.
	if overlapEnd(r) && (r.published == 0 || j.altered(r, v.revision) || j.lost(r.published, v.revision)) {
		return
	}
	j.fail(1, v.revision, "revision %d (published at %d) was given the end %s, which nothing calls for", r.first.Spec.Revision, r.published, end.Format(time.RFC3339))
}

// ever reports whether a version of the key that was there between two revisions has a property.
func (j *judge) ever(from, to int64, has func(*v1alpha1.DGbotAPIKey) bool) bool {
	for _, v := range j.versions {
		if v.from < to && v.until > from && has(v.key) {
			return true
		}
	}
	return false
}
