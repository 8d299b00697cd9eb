// SPDX-License-Identifier: Apache-2.0

// Package records deletes records whose key does not own them: the key was deleted, or the records were orphaned or restored.
package records

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// Reconciler deletes records that no key owns: those of a deleted key before garbage collection deletes them, and orphaned or restored
// ones, which garbage collection never deletes.
type Reconciler struct {
	// Client reads from the cache, and deletes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
}

// Reconcile deletes the record if it is a stray.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	record := &v1alpha1.DGbotAPIKeyRecord{}
	stray, err := whyStray(ctx, r.Client, request.NamespacedName, record)
	if err != nil || stray == "" {
		return ctrl.Result{}, err
	}
	// The cache of keys may be behind that of records: the key may be new.
	if stray, err = whyStray(ctx, r.Live, request.NamespacedName, record); err != nil || stray == "" {
		return ctrl.Result{}, err
	}
	err = r.Client.Delete(ctx, record, client.Preconditions{UID: &record.UID, ResourceVersion: &record.ResourceVersion})
	switch {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, nil
	case apierrors.IsConflict(err):
		write.Conflicts.Inc()
		return ctrl.Result{RequeueAfter: write.YieldDelay}, nil
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("deleting stray record: %w", err)
	}
	strays.WithLabelValues(stray).Inc()
	ctrl.LoggerFrom(ctx).Info("Deleted a record that its key does not own", "key", record.Spec.APIKeyRef.Name, "uid", record.Spec.APIKeyRef.UID, "revision", record.Spec.Revision)
	return ctrl.Result{}, nil
}

// whyStray reads a record and its key, and returns why the record is a stray; empty if it is none.
func whyStray(ctx context.Context, reader client.Reader, name types.NamespacedName, record *v1alpha1.DGbotAPIKeyRecord) (string, error) {
	if found, err := read.Get(ctx, reader, name, record); err != nil || !found || !record.DeletionTimestamp.IsZero() {
		return "", err
	}
	if standing.IsOrphan(record) {
		return strayOrphaned, nil
	}
	key := &v1alpha1.DGbotAPIKey{}
	found, err := read.Get(ctx, reader, types.NamespacedName{Namespace: name.Namespace, Name: record.Spec.APIKeyRef.Name}, key)
	if err == nil && (!found || key.UID != record.Spec.APIKeyRef.UID) {
		return strayKeyGone, nil
	}
	return "", err
}

// SetupWithManager registers the reconciler, its watches and indexes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotAPIKeyRecord{}, v1alpha1.SelectableAPIKeyUID, func(o client.Object) []string {
		record, ok := o.(*v1alpha1.DGbotAPIKeyRecord)
		if !ok {
			return nil
		}
		return []string{string(record.Spec.APIKeyRef.UID)}
	})
	if err != nil {
		return err
	}
	deletions := predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotAPIKeyRecord{}, builder.WithPredicates(queue.IgnoreUsage())).
		Watches(&v1alpha1.DGbotAPIKey{}, handler.EnqueueRequestsFromMapFunc(r.recordsOfKey), builder.WithPredicates(deletions)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: queue.RateLimiter(), NewQueue: queue.FairByNamespace(queue.NeverUrgent)}).
		Complete(r)
}

func (r *Reconciler) recordsOfKey(ctx context.Context, key client.Object) []reconcile.Request {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := r.Client.List(ctx, &records, client.InNamespace(key.GetNamespace()), client.MatchingFields{v1alpha1.SelectableAPIKeyUID: string(key.GetUID())}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the records of a deleted key", "namespace", key.GetNamespace(), "name", key.GetName())
		return nil
	}
	requests := make([]reconcile.Request, 0, len(records.Items))
	for i := range records.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&records.Items[i])})
	}
	return requests
}
