// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// A withdrawal is written into records, each with a note of when that was, and then followed in status.propagation until all verifiers have
// confirmed it (internal/lifecycle/propagation). controllers/internal/verifiers wakes the key then.
//
//	crash after                         what is found
//	a record was withdrawn              its note is newer than what the status covers: a withdrawal, from now on
//	the status was written              it has no confirmedAt: the key waits again
//	a verifier confirmed                the same, and the first pass confirms

// confirmationLag is the delay before a key with an open withdrawal is reconciled again, while the cache is behind the last write of its status.
const confirmationLag = 50 * time.Millisecond

// lagOf returns the delay before a key is reconciled again, while the cache is behind the last write of its status. With an open withdrawal it is
// short: a verifier may have confirmed it, and no later event wakes the key.
func lagOf(seen *observed) time.Duration {
	if lifecycle.IsWithdrawalOpen(seen.Key, seen.Records) {
		return confirmationLag
	}
	return cacheLag
}

// observeVerifiers adds to an observation what it needs to follow a withdrawal, if there is one to follow.
func (r *Reconciler) observeVerifiers(ctx context.Context, seen *observed) {
	if seen.Key == nil || !lifecycle.IsWithdrawalOpen(seen.Key, seen.Records) {
		return
	}
	seen.WithdrawnAt, seen.ReportedAt = r.memory.lastWithdrawal(client.ObjectKeyFromObject(seen.Key))
	seen.Verifiers = r.Verifiers.View(ctx, seen.Key.Namespace, seen.Key.Spec.Environment)
}

// noteWithdrawal remembers when the API server had answered a write that withdrew a revision, and that there is the version of its record. before
// is the version of records that was known when the write was sent.
func (r *Reconciler) noteWithdrawal(key *v1alpha1.DGbotAPIKey, record *v1alpha1.DGbotAPIKeyRecord, before string) {
	r.memory.rememberWithdrawal(client.ObjectKeyFromObject(key), r.Clock.Now())
	r.Verifiers.NoteWrite(before, record.ResourceVersion)
}

// await has the key woken once verifiers have confirmed its withdrawal.
func (r *Reconciler) await(key *v1alpha1.DGbotAPIKey, decision lifecycle.Decision) {
	name := client.ObjectKeyFromObject(key)
	if decision.Awaited == nil {
		r.Verifiers.StopWaiting(name)
		return
	}
	r.Verifiers.Wait(name, key.Spec.Environment, *decision.Awaited)
}

// endsPropagation reports whether the planned status removes propagation. That needs a live read, because a cached record may lack the note of a
// withdrawal.
func endsPropagation(planned *v1alpha1.DGbotAPIKeyStatus, key *v1alpha1.DGbotAPIKey) bool {
	return planned != nil && planned.Propagation == nil && key.Status.Propagation != nil
}

// wakeWaiting adds to the queue the keys whose withdrawals verifiers have confirmed, or whose status does not name the first verifier yet.
func (r *Reconciler) wakeWaiting(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Verifiers.OnWake(func(key types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: key}) })
	return nil
}
