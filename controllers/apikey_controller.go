// SPDX-License-Identifier: Apache-2.0

// Package controllers is the control plane's I/O: it observes, has internal/lifecycle plan, carries the plan out and
// reports. It decides nothing about keys itself.
//
// What may be wrong in which order is the point of the package: a key is in a record before it is in the Secret, the
// Secret is written with the resourceVersion that was read before the key was minted, and nothing is minted or deleted
// on the word of a cache. The API server is the lock between operators; leader election only saves work.
package controllers

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// longestWait bounds how long a change of the wall clock goes unnoticed: timers run on the monotonic one. Another pass costs no request.
const longestWait = 10 * time.Minute

// aheadDelay is how long an instance waits when another one is about to publish.
const aheadDelay = 250 * time.Millisecond

// cacheLag is how far the cache may be behind our own writes before a live read is worth its request.
const cacheLag = 5 * time.Second

// The bounds of the delay between retries for one object.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = 5 * time.Minute
)

// APIKeyReconciler carries out the lifecycle of DGbotAPIKeys.
type APIKeyReconciler struct {
	// Client reads keys, records and the metadata of Secrets from the cache, and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Recorder takes the events.
	Recorder events.EventRecorder
	// Clock tells the time that lifecycle plans with.
	Clock clock.PassiveClock
	// SecretCheckInterval is how often Secrets are looked at where they may not be watched; zero where they are.
	SecretCheckInterval time.Duration
	// UsageNamespace is where verifiers keep the Leases by which they vouch for uses.
	UsageNamespace string
	// RequireEnvironment holds back the first issue of a key whose environment has no DGbotEnvironment.
	RequireEnvironment bool

	memory   memory
	attempts attempts
	gone     goneOwners
	slow     slowLane
	ranks    keyRanks
}

// Reconcile brings one key closer to what its spec asks for.
func (r *APIKeyReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	seen, err := r.observeCached(ctx, request.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if seen == nil {
		r.memory.forget(request.NamespacedName)
		r.attempts.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	decision := lifecycle.Plan(seen.Observation, r.Clock.Now())
	older, since := r.memory.olderThanReport(seen.Key, r.Clock.Now())
	if older && since >= 0 && since < cacheLag && len(decision.Steps) == 0 {
		return ctrl.Result{RequeueAfter: cacheLag}, nil
	}
	if len(decision.Steps) > 0 || older || len(seen.Failed) > 0 || reportsFailedReads(seen.Key) || seen.unconfirmed && differs(decision.Status, seen.Key) {
		// A cache may be old, and neither minting nor revoking can be taken back: observe live and plan again.
		seen, decision, err = r.carryOut(ctx, request.NamespacedName)
		if err != nil {
			return r.failed(ctx, seen, decision, err)
		}
		if seen == nil {
			return ctrl.Result{}, nil
		}
	}
	if err := r.attempts.retryReads(request.NamespacedName, &seen.failures, r.Clock.Now()); err != nil {
		return resultOf(err)
	}
	if err := r.report(ctx, seen, decision); err != nil {
		return resultOf(err)
	}
	wake := r.wake(seen, decision.Wake)
	if wake.IsZero() {
		return ctrl.Result{RequeueAfter: longestWait}, nil
	}
	return ctrl.Result{RequeueAfter: min(max(wake.Sub(r.Clock.Now()), time.Millisecond), longestWait)}, nil
}

// failed ends a pass that did not come to rest. Its conditions are reported, so that a key whose writes time out for an
// hour says that it is in progress. Events and the rest of the status wait for what comes of it: status.current is what
// tells a lost record from an altered Secret.
func (r *APIKeyReconciler) failed(ctx context.Context, seen *observed, decision lifecycle.Decision, err error) (ctrl.Result, error) {
	result, retry := resultOf(err)
	if retry == nil && !errors.Is(err, errBusy) || seen == nil || seen.Key == nil || decision.Status == nil {
		return result, retry
	}
	status := seen.Key.Status.DeepCopy()
	status.Conditions = decision.Status.Conditions
	if differs(status, seen.Key) {
		retry = errors.Join(retry, r.writeStatus(ctx, seen.Key, status))
	}
	return result, retry
}

// reportsFailedReads reports whether a key's status names a failed read. The cache cannot clear it: it may know what the API server
// does not answer.
func reportsFailedReads(key *v1alpha1.DGbotAPIKey) bool {
	ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && ready.Reason == v1alpha1.ObservationFailedReason
}

// SetupWithManager registers the reconciler, its watches and indexes.
func (r *APIKeyReconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
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
	r.slow.capacity = capacityOf(concurrency)
	keys := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotAPIKey{}, builder.WithPredicates(notOfStatusAlone())).
		Watches(&v1alpha1.DGbotAPIKeyRecord{}, wakeKeyOfRecord()).
		Watches(&v1alpha1.DGbotChatbot{}, handler.EnqueueRequestsFromMapFunc(r.keysOf(chatbotRefIndex)), builder.WithPredicates(ofChatbotID())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.keysOfReservation), builder.WithPredicates(ofReservations())).
		Watches(&coordinationv1.Lease{}, r.wakeKeysOfLease(), builder.WithPredicates(r.notOfRenewalAlone())).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: retryLimiter(), NewQueue: takingTurns(r.urgent)})
	keys, err := r.setUpEnvironments(mgr, keys)
	if err != nil {
		return err
	}
	if r.watchesSecrets() {
		keys = keys.WatchesMetadata(&corev1.Secret{}, r.wakeKeysOfSecret(), builder.OnlyMetadata)
	}
	return keys.Complete(r)
}

// notOfStatusAlone leaves out changes of nothing but the status, which this controller writes: a refusal that is worded
// differently each time would otherwise end its own back-off. A status that somebody else writes is put right at the next
// look. A deletion changes the generation.
func notOfStatusAlone() predicate.Predicate {
	anotherKey := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() }}
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}, anotherKey)
}

// keyIndexes are the indexes by which events of other objects find keys.
func keyIndexes() []string {
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
func (r *APIKeyReconciler) keysOf(index string) handler.MapFunc {
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

// retryLimiter spaces retries of one object; there is no overall limit, which would let broken keys delay healthy ones.
func retryLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry)
}

// metadataOf is an object of a core kind to be read without its contents.
func metadataOf(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return object
}

// get reads an object from a reader, telling "not there" from "not readable".
func get[T client.Object](ctx context.Context, reader client.Reader, name types.NamespacedName, into T) (found bool, err error) {
	err = reader.Get(ctx, name, into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
