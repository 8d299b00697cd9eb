// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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

// summaryDelay is how long changes of keys are gathered before they are counted: a thousand new keys are to cost a few writes
// of their environment's status.
const summaryDelay = 2 * time.Second

// EnvironmentReconciler says of each DGbotEnvironment whether its rules can be kept to, and sums up its keys. The rules
// themselves are enforced key by key.
type EnvironmentReconciler struct {
	// Client reads environments, keys and the metadata of namespaces from the cache, and writes.
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock

	attempts attempts
}

// Reconcile writes the status of one environment.
func (r *EnvironmentReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	env := &v1alpha1.DGbotEnvironment{}
	found, err := get(ctx, r.Client, request.NamespacedName, env)
	if err == nil && !found {
		r.attempts.forget(request.NamespacedName)
	}
	if err != nil || !found || !env.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, err
	}
	seen := lifecycle.EnvironmentObservation{Environment: env}
	for _, w := range lifecycle.WindowsOf(&env.Spec, locationOf) {
		if w.Location == nil {
			seen.UnknownZone = true
		}
	}
	var failed failures
	seen.SelectsNothing, err = r.selectsNothing(ctx, &env.Spec)
	failed.note(lifecycle.ReadNamespaces, reading(err, "the list of namespaces"))
	var keys v1alpha1.DGbotAPIKeyList
	err = bounded(ctx, func(ctx context.Context) error {
		return r.Client.List(ctx, &keys, client.MatchingFields{environmentField: env.Name}, client.UnsafeDisableDeepCopy)
	})
	failed.note(lifecycle.ReadKeys, reading(err, "the DGbotAPIKeys of the environment"))
	if err := r.attempts.retryReads(request.NamespacedName, &failed, r.Clock.Now()); err != nil {
		return resultOf(err)
	}
	seen.Keys, seen.Failed = keys.Items, failed.reads
	status, wake := lifecycle.EnvironmentStatus(seen, r.Clock.Now())
	again := ctrl.Result{}
	if !wake.IsZero() {
		// Timers run on the monotonic clock: see longestWait.
		again.RequeueAfter = min(max(wake.Sub(r.Clock.Now()), time.Millisecond), longestWait)
	}
	if equality.Semantic.DeepEqual(*status, env.Status) {
		return again, nil
	}
	for _, event := range lifecycle.EnvironmentEvents(&env.Status, status) {
		emit(r.Recorder, env, event)
		ctrl.LoggerFrom(ctx).Info(event.Note, "reason", event.Reason)
	}
	_, err = applyStatus(ctx, r.Client, v1alpha1.EnvironmentKind, env, status)
	if apierrors.IsConflict(err) {
		conflicts.Inc()
		err = errOutrun
	}
	if err = client.IgnoreNotFound(err); err == nil {
		return again, nil
	}
	return resultOf(err)
}

// selectsNothing says whether there is no namespace that may hold keys of the environment.
func (r *EnvironmentReconciler) selectsNothing(ctx context.Context, rules *v1alpha1.DGbotEnvironmentSpec) (bool, error) {
	if rules.NamespaceSelector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rules.NamespaceSelector)
	if err != nil {
		return true, nil //nolint:nilerr // a selector that cannot be read selects nothing
	}
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := bounded(ctx, func(ctx context.Context) error { return r.Client.List(ctx, namespaces, client.UnsafeDisableDeepCopy) }); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(namespaces.Items, func(n metav1.PartialObjectMetadata) bool { return selectsNamespace(selector, n.Labels) }), nil
}

// SetupWithManager registers the reconciler and its watches.
func (r *EnvironmentReconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotEnvironment{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.DGbotAPIKey{}, gathered()).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.selecting), builder.OnlyMetadata, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: retryLimiter()}).
		Complete(r)
}

// gathered wakes the environment of a key a while after the key has changed in a way that is summed up.
func gathered() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(o client.Object, q queue) {
		if key, ok := o.(*v1alpha1.DGbotAPIKey); ok {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: key.Spec.Environment}}, summaryDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { wake(e.Object, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { wake(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			old, ok := e.ObjectOld.(*v1alpha1.DGbotAPIKey)
			next, alsoOK := e.ObjectNew.(*v1alpha1.DGbotAPIKey)
			if ok && alsoOK && lifecycle.FacetOf(old) != lifecycle.FacetOf(next) {
				wake(e.ObjectNew, q)
			}
		},
	}
}

// selecting are the environments whose rules select namespaces.
func (r *EnvironmentReconciler) selecting(ctx context.Context, _ client.Object) []reconcile.Request {
	var all v1alpha1.DGbotEnvironmentList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the environments of a namespace")
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if all.Items[i].Spec.NamespaceSelector != nil {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}

// unknownEnvironmentIndex finds the keys that wait for their environment to exist: their message names those that do.
const (
	unknownEnvironmentIndex = "unknownEnvironment"
	waiting                 = "waiting"
)

// setUpEnvironments registers what wakes keys because of the rules of their environment: a change of the rules, of a namespace's
// labels, and of an older key that counted.
func (r *APIKeyReconciler) setUpEnvironments(mgr ctrl.Manager, keys *builder.Builder) (*builder.Builder, error) {
	for name, valueOf := range map[string]func(*v1alpha1.DGbotAPIKey) []string{
		environmentField: func(key *v1alpha1.DGbotAPIKey) []string { return []string{key.Spec.Environment} },
		unknownEnvironmentIndex: func(key *v1alpha1.DGbotAPIKey) []string {
			if ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition); ready == nil || ready.Reason != v1alpha1.EnvironmentUnknownReason {
				return nil
			}
			return []string{waiting}
		},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.DGbotAPIKey{}, name, func(o client.Object) []string {
			key, ok := o.(*v1alpha1.DGbotAPIKey)
			if !ok {
				return nil
			}
			return valueOf(key)
		}); err != nil {
			return nil, err
		}
	}
	r.ranks.kept = true
	return keys.
		Watches(&v1alpha1.DGbotEnvironment{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return append(r.keysWhere(ctx, client.MatchingFields{environmentField: o.GetName()}),
				r.keysWhere(ctx, client.MatchingFields{unknownEnvironmentIndex: waiting})...)
		}), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return r.keysWhere(ctx, client.InNamespace(o.GetName()))
		}), builder.OnlyMetadata, builder.WithPredicates(labelsChanged())).
		Watches(&v1alpha1.DGbotAPIKey{}, r.wakeCounted()), nil
}

// labelsChanged leaves out that a namespace appears: its keys come after it.
func labelsChanged() predicate.Predicate {
	return predicate.And[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }})
}

func (r *APIKeyReconciler) keysWhere(ctx context.Context, selection ...client.ListOption) []reconcile.Request {
	var keys v1alpha1.DGbotAPIKeyList
	if err := r.Client.List(ctx, &keys, append(selection, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to look up the keys of an environment")
		return nil
	}
	requests := make([]reconcile.Request, len(keys.Items))
	for i := range keys.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&keys.Items[i])
	}
	return requests
}
