// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// A list of records waits until the API server's own cache has followed etcd, about 100 ms; a GET takes 2 ms. So a pass that issues a first
// revision, or another one on schedule or on request, or that revokes one on request, lists nothing. It takes the records from the cache, and
// then reads the key, the Secret, the record of the key in the Secret, and the other records that may be accepted. What an old cache can do then:
//
//	a record is absent that another pass has just created   the API server rejects another one of that name, and the pass lists
//	the record of the key in the Secret is absent           the pass lists
//	a record that may be accepted is old                    it was read live, after the cache
//	a record that is revoked or has expired is old          it stays revoked or expired
//
// No earlier record is absent, as events of records arrive in their order: one that was deleted and restored is the exception, and is reported late.
//
// Before a record is revoked or ended, the key is read again (confirmKey), and after a rotation as well.
//
// Every other decision (a loss, an audit, a deletion) needs a list: lifecycle.WithoutList says which. Where it says so after the reads, the pass
// starts again, with a list. That a revocation is handled is reported by a later pass, from a list: when many keys leaked, all of them are revoked
// before the first of these lists.

var (
	// errNeedsList is returned where a decision from a snapshot needs a list, or where the snapshot proved to be old.
	errNeedsList = errors.New("the records have to be listed")
	// errPostponed is returned where a later pass lists the records, and reports.
	errPostponed = errors.New("the report waits for a list in a later pass")
)

const (
	// firstIssueWindow is how long after its creation a key can be issued without a list of its records.
	firstIssueWindow = time.Minute
	// maxRefreshed is how many records are read one by one: more cost as much as a list.
	maxRefreshed = 4
	// refreshTimeout bounds these reads together, so that read.AttemptTimeout leaves time for a list after them.
	refreshTimeout = read.AttemptTimeout / 4
)

// usableForSnapshot returns an observation from the cache for snapshot; nil if the records are to be listed anyhow: without steps a status is to be
// proven, a read that failed before is to be repeated, and a key that is not Active is withdrawn.
func (o *observed) usableForSnapshot(decision lifecycle.Decision) *observed {
	if len(decision.Steps) == 0 || reportsFailedReads(o.Key) || lifecycle.AskedState(o.Key) != v1alpha1.StateActive {
		return nil
	}
	return o
}

// snapshot returns the records that the cache has, if a decision can be made from them. The key and the Secret were read live, after cached.
func (r *Reconciler) snapshot(ctx context.Context, cached *observed, key *v1alpha1.DGbotAPIKey, look secretLook) ([]v1alpha1.DGbotAPIKeyRecord, bool) {
	isKnown := cached != nil && cached.Key.UID == key.UID && len(cached.Failed) == 0 && look.err == nil
	if !isKnown || lifecycle.AskedState(key) != v1alpha1.StateActive {
		return nil, false
	}
	if look.facts == nil {
		// A key that asks to revoke is listed: its status must not report that for a record that the cache lacks.
		return nil, r.isNew(cached, key) && !requestsRevocation(key)
	}
	if state, _ := look.facts.ownership(key); state != revisions.SecretOwned || r.memory.hasDoubts(key) {
		return nil, false
	}
	newest := lifecycle.IndexOfNewest(look.facts.hash, key, cached.Records)
	if newest < 0 {
		return nil, false
	}
	records := slices.Clone(cached.Records)
	var accepted []*v1alpha1.DGbotAPIKeyRecord
	for i := range records {
		if i == newest || !r.isOver(&records[i]) {
			accepted = append(accepted, &records[i])
		}
	}
	if len(accepted) > maxRefreshed {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	for _, record := range accepted {
		if !r.refresh(ctx, record) {
			return nil, false
		}
	}
	return records, true
}

// isOver reports whether a record is not accepted, and cannot be any more.
func (r *Reconciler) isOver(record *v1alpha1.DGbotAPIKeyRecord) bool {
	end := record.Spec.NotAfter
	return record.Spec.State == v1alpha1.StateRevoked || end != nil && !end.After(r.Clock.Now())
}

// refresh reads a record from the API server. It reports false if that has no record of the name and the uid.
func (r *Reconciler) refresh(ctx context.Context, record *v1alpha1.DGbotAPIKeyRecord) bool {
	live := &v1alpha1.DGbotAPIKeyRecord{}
	err := read.Bounded(ctx, func(ctx context.Context) error {
		_, err := read.Get(ctx, r.Live, types.NamespacedName{Namespace: record.Namespace, Name: record.Name}, live)
		return err
	})
	if err != nil || live.UID != record.UID {
		return false
	}
	*record = *live
	return true
}

// isNew reports whether a key without a Secret certainly has no record. The cache had none, and the key is new and was never observed. If
// the cache lacked a record, this or another instance created it within this minute. Without the bound, an instance with an old cache would
// issue revision 1 again for a key whose status is lost and whose first record was pruned.
func (r *Reconciler) isNew(cached *observed, key *v1alpha1.DGbotAPIKey) bool {
	return key.Status.ObservedGeneration <= 0 && r.Clock.Now().Sub(key.CreationTimestamp.Time).Abs() < firstIssueWindow &&
		len(cached.Records) == 0 && !r.memory.hasRecord(key)
}

// stepsToApply returns the steps of a decision that can be applied to what was observed. Where a snapshot is not enough it returns errNeedsList, and
// where it is not enough to say that a revocation is handled, errPostponed. The report is postponed once, unless this pass knows why no key was
// published: if the next pass has a snapshot again, a cache is old or a read fails, and to postpone the report again might never end.
func (r *Reconciler) stepsToApply(seen *observed, decision lifecycle.Decision) ([]steps.Step, error) {
	switch {
	case !seen.unlisted:
		return decision.Steps, nil
	case len(decision.Steps) > 0:
		bound, ok := lifecycle.WithoutList(seen.Key, decision.Steps, seen.Records, r.Clock.Now())
		if !ok {
			return nil, errNeedsList
		}
		return bound, nil
	case !reportsWithdrawal(decision.Status, seen.Key):
		return nil, nil
	case seen.Rejection != nil || !r.memory.mayPostpone(seen.Key, revokedBefore(decision.Status)):
		return nil, errNeedsList
	}
	return nil, errPostponed
}

// requestsRevocation reports whether a key has a request to revoke, at whatever time.
func requestsRevocation(key *v1alpha1.DGbotAPIKey) bool {
	_, annotated := key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation]
	return annotated || key.Spec.Rotation != nil && key.Spec.Rotation.RevokeIssuedBefore != nil
}
