// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// SetupWithManager registers the reconciler, its watches and indexes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotAPIKey{}, secretNameIndex, func(o client.Object) []string {
		key, ok := o.(*v1alpha1.DGbotAPIKey)
		if !ok {
			return nil
		}
		return []string{lifecycle.SecretName(key)}
	}); err != nil {
		return err
	}
	if err := indexChatbots(mgr); err != nil {
		return err
	}
	r.slow.Capacity = write.CapacityOf(concurrency)
	keys := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotAPIKey{}, builder.WithPredicates(queue.IgnoreStatusChanges())).
		Watches(&v1alpha1.DGbotAPIKeyRecord{}, wakeKeyOfRecord(), builder.WithPredicates(r.notingVersions())).
		WatchesRawSource(source.Func(r.wakeWaiting)).
		Watches(&v1alpha1.DGbotChatbot{}, handler.EnqueueRequestsFromMapFunc(r.keysOfChatbot), builder.WithPredicates(ofChatbotID())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.keysOfReservation), builder.WithPredicates(ofReservations())).
		Watches(&coordinationv1.Lease{}, r.wakeKeysOfLease(), builder.WithPredicates(r.notOfRenewalAlone())).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: queue.RateLimiter(), NewQueue: queue.FairByNamespace(r.urgent)})
	keys, err := r.setUpEnvironments(mgr, keys)
	if err != nil {
		return err
	}
	if r.watchesSecrets() {
		keys = keys.WatchesMetadata(&corev1.Secret{}, published.WakeOwners(published.KeyOwner, r.keysNaming), builder.OnlyMetadata)
	}
	return keys.Complete(r)
}

// Indexes are the indexes by which events of other objects find keys.
func Indexes() []string {
	return []string{secretNameIndex, chatbotRefIndex, reservationIndex, unknownEnvironmentIndex}
}

// secretNameIndex finds the keys that publish under a Secret's name.
const secretNameIndex = "secretName"

func keyOfRecord(_ context.Context, o client.Object) []reconcile.Request {
	record, ok := o.(*v1alpha1.DGbotAPIKeyRecord)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: record.Namespace, Name: record.Spec.APIKeyRef.Name}}}
}

// listKeys returns the keys that an event concerns, from the cache. If they cannot be listed it logs that and returns none: their own events
// and the next scheduled pass reconcile them. The caller must not change them.
func (r *Reconciler) listKeys(ctx context.Context, selection ...client.ListOption) []v1alpha1.DGbotAPIKey {
	var keys v1alpha1.DGbotAPIKeyList
	if err := r.Client.List(ctx, &keys, append(selection, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the keys that an event concerns")
		return nil
	}
	return keys.Items
}

// keysWhere returns requests for the keys of a selection.
func (r *Reconciler) keysWhere(ctx context.Context, selection ...client.ListOption) []reconcile.Request {
	keys := r.listKeys(ctx, selection...)
	requests := make([]reconcile.Request, len(keys))
	for i := range keys {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&keys[i])
	}
	return requests
}

// keysOfChatbot returns requests for the keys that refer to a chatbot.
func (r *Reconciler) keysOfChatbot(ctx context.Context, chatbot client.Object) []reconcile.Request {
	return r.keysWhere(ctx, client.InNamespace(chatbot.GetNamespace()), client.MatchingFields{chatbotRefIndex: chatbot.GetName()})
}

// urgent reports whether something of a key waits to be withdrawn, as far as the cache knows.
func (r *Reconciler) urgent(request reconcile.Request) bool {
	if !caching.Filled(r.Client, request.Namespace, &v1alpha1.DGbotAPIKey{}, &v1alpha1.DGbotAPIKeyRecord{}) {
		return false
	}
	ctx, key := context.Background(), &v1alpha1.DGbotAPIKey{}
	if found, err := read.Get(ctx, r.Client, request.NamespacedName, key); err != nil || !found {
		return false
	}
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := r.Client.List(ctx, &records, recordsOf(key)...); err != nil {
		return false
	}
	return lifecycle.WithdrawalOf(key, records.Items, r.Clock.Now()) != steps.WithdrawNothing
}

// wakeKeyOfRecord wakes the key of a record that has changed; for a reported use later. A flood of uses does not delay a revocation,
// which goes first, see queue.FairByNamespace.
func wakeKeyOfRecord() handler.EventHandler {
	wake := handler.EnqueueRequestsFromMapFunc(keyOfRecord)
	return handler.Funcs{
		CreateFunc:  wake.Create,
		DeleteFunc:  wake.Delete,
		GenericFunc: wake.Generic,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, to workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if !queue.IsUsageOnly(e) {
				wake.Update(ctx, e, to)
				return
			}
			for _, request := range keyOfRecord(ctx, e.ObjectNew) {
				queue.AddLater(to, request)
			}
		},
	}
}

// notingVersions lets every event pass, and notes up to which version this instance has seen records.
func (r *Reconciler) notingVersions() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(record client.Object) bool {
		r.Verifiers.NoteVersion(record.GetResourceVersion())
		return true
	})
}

// keysNaming returns the keys that publish under a Secret's name. The caller must not change them.
func (r *Reconciler) keysNaming(ctx context.Context, secret client.Object) []*v1alpha1.DGbotAPIKey {
	keys := r.listKeys(ctx, client.InNamespace(secret.GetNamespace()), client.MatchingFields{secretNameIndex: secret.GetName()})
	naming := make([]*v1alpha1.DGbotAPIKey, len(keys))
	for i := range keys {
		naming[i] = &keys[i]
	}
	return naming
}
