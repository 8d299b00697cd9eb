// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// A list of records waits until the API server's own cache has followed etcd, about 100 ms; a GET takes 2 ms. So a pass that issues a first
// revision, or another one on schedule or on request, or that revokes one on request, lists nothing. It takes the records from the cache,
// and then reads the key, the Secret, and the record of the key in the Secret. What an old cache can do then:
//
//	it lacks a record that another pass has just created   the API server rejects another one of that name, and the pass lists
//	it lacks the record of the key in the Secret           the pass lists
//	it has an old version of a record that changes         the API server rejects the patch, which names that version
//	it has an old version of a record that does not        nothing depends on it; the event with the new version starts another pass
//	it lacks an earlier record                             it cannot: events of records arrive in their order, and it has a later one
//
// Every other decision (a loss, an audit, a deletion) needs a list: lifecycle.WithoutList says which. Where it says so after the reads, the pass
// starts again, with a list. That a revocation is handled is reported by a later pass, from a list: when many keys leaked, all of them are revoked
// before the first of these lists.
//
// The key was read after the snapshot, and its status is written only on the version that was read. So the key is not read again after
// a publication: if it was changed meanwhile, that write is rejected, and the next pass sees the change.

// errUnlisted is returned where a decision from a snapshot needs a list, or where the snapshot proved to be old.
var errUnlisted = errors.New("the records have to be listed")

// firstIssueWindow is how long after its creation a key can be issued without a list of its records.
const firstIssueWindow = time.Minute

// forSnapshot returns an observation from the cache for snapshot; nil if the records are to be listed anyhow: without steps a status is to be
// proven, and a read that failed before is to be repeated.
func (o *observed) forSnapshot(decision lifecycle.Decision) *observed {
	if len(decision.Steps) == 0 || reportsFailedReads(o.Key) {
		return nil
	}
	return o
}

// snapshot returns the records that the cache has, if a decision can be made from them. The key and the Secret were read live, after cached.
func (r *Reconciler) snapshot(ctx context.Context, cached *observed, key *v1alpha1.DGbotAPIKey, look secretLook) ([]v1alpha1.DGbotAPIKeyRecord, bool) {
	isKnown := cached != nil && cached.Key.UID == key.UID && len(cached.Failed) == 0 && look.err == nil
	if r.memory.takeListNext(client.ObjectKeyFromObject(key)) || !isKnown || lifecycle.AskedState(key) != v1alpha1.StateActive {
		return nil, false
	}
	if look.facts == nil {
		// A key that asks to revoke is listed: its status must not report that for a record that the cache lacks.
		return nil, r.isNew(cached, key) && !requestsRevocation(key)
	}
	if state, _ := look.facts.ownership(key); state != revisions.SecretOwned || r.memory.hasDoubts(key) {
		return nil, false
	}
	at := lifecycle.NewestIs(look.facts.hash, key, cached.Records)
	if at < 0 {
		return nil, false
	}
	record := &v1alpha1.DGbotAPIKeyRecord{}
	err := read.Bounded(ctx, func(ctx context.Context) error {
		_, err := read.Get(ctx, r.Live, types.NamespacedName{Namespace: key.Namespace, Name: cached.Records[at].Name}, record)
		return err
	})
	if err != nil || record.UID != cached.Records[at].UID {
		return nil, false
	}
	records := append([]v1alpha1.DGbotAPIKeyRecord(nil), cached.Records...)
	records[at] = *record
	return records, true
}

// allowed returns the steps of a decision that can be carried out on what was observed. Where a snapshot is not enough it returns errUnlisted, and
// where it is not enough to say that a revocation is handled, write.ErrYield: the list may wait, unless this pass knows why no key was published.
func (r *Reconciler) allowed(seen *observed, decision lifecycle.Decision) ([]steps.Step, error) {
	switch {
	case !seen.unlisted:
		return decision.Steps, nil
	case len(decision.Steps) > 0:
		bound, ok := lifecycle.WithoutList(seen.Key, decision.Steps, seen.Records, r.Clock.Now())
		if !ok {
			return nil, errUnlisted
		}
		return bound, nil
	case !reportsWithdrawal(decision.Status, seen.Key):
		return nil, nil
	case seen.Rejection != nil:
		return nil, errUnlisted
	}
	// What the cache shows may ask for the same again: it knows nothing of the Secret of a key that was never observed.
	r.memory.listNext(client.ObjectKeyFromObject(seen.Key))
	return nil, write.ErrYield
}

// isNew reports whether a key without a Secret certainly has no record. The cache had none, and the key is new and was never observed. If
// the cache lacked a record, this or another instance created it within this minute. Without the bound, an instance with an old cache would
// issue revision 1 again for a key whose status is lost and whose first record was pruned.
func (r *Reconciler) isNew(cached *observed, key *v1alpha1.DGbotAPIKey) bool {
	return key.Status.ObservedGeneration <= 0 && r.Clock.Now().Sub(key.CreationTimestamp.Time).Abs() < firstIssueWindow &&
		len(cached.Records) == 0 && !r.memory.hasRecord(key)
}

// requestsRevocation reports whether a key has a request to revoke, at whatever time.
func requestsRevocation(key *v1alpha1.DGbotAPIKey) bool {
	_, annotated := key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation]
	return annotated || key.Spec.Rotation != nil && key.Spec.Rotation.RevokeIssuedBefore != nil
}
