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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
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
		Watches(&v1alpha1.DGbotAPIKeyRecord{}, wakeKeyOfRecord()).
		Watches(&v1alpha1.DGbotChatbot{}, handler.EnqueueRequestsFromMapFunc(r.keysOf(chatbotRefIndex)), builder.WithPredicates(ofChatbotID())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.keysOfReservation), builder.WithPredicates(ofReservations())).
		Watches(&coordinationv1.Lease{}, r.wakeKeysOfLease(), builder.WithPredicates(r.notOfRenewalAlone())).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: queue.RateLimiter(), NewQueue: queue.New(r.urgent)})
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

// keysOf returns the keys that an index finds by the name of an object in their namespace. For a Secret it goes by the name
// and not by its owner: the owner may have been removed, and whoever waits for a left over Secret to go does not own it.
func (r *Reconciler) keysOf(index string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var keys v1alpha1.DGbotAPIKeyList
		if err := r.Client.List(ctx, &keys, client.InNamespace(o.GetNamespace()), client.MatchingFields{index: o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the keys of an object", "index", index, "namespace", o.GetNamespace(), "name", o.GetName())
			return nil
		}
		requests := make([]reconcile.Request, 0, len(keys.Items))
		for i := range keys.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&keys.Items[i])})
		}
		return requests
	}
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
	return lifecycle.WithdrawalOf(key, records.Items, r.Clock.Now()) != lifecycle.WithdrawNothing
}

// wakeKeyOfRecord wakes the key of a record that has changed; for a reported use later. A flood of uses does not delay a revocation,
// which goes first, see queue.New.
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

// keysNaming returns the keys that publish under a Secret's name. The caller must not change them.
func (r *Reconciler) keysNaming(ctx context.Context, secret client.Object) []*v1alpha1.DGbotAPIKey {
	var keys v1alpha1.DGbotAPIKeyList
	selection := []client.ListOption{client.InNamespace(secret.GetNamespace()), client.MatchingFields{secretNameIndex: secret.GetName()}, client.UnsafeDisableDeepCopy}
	if err := r.Client.List(ctx, &keys, selection...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the keys of a Secret", "namespace", secret.GetNamespace(), "name", secret.GetName())
		return nil
	}
	naming := make([]*v1alpha1.DGbotAPIKey, len(keys.Items))
	for i := range keys.Items {
		naming[i] = &keys.Items[i]
	}
	return naming
}
