// SPDX-License-Identifier: Apache-2.0

// Package environments reconciles DGbotEnvironments: it reports whether the rules of an environment can be enforced, and sums up its keys.
// The controller of keys enforces the rules.
package environments

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/environments"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// summaryDelay is how long the controller gathers changes of keys before it counts them: a thousand new keys should cost a few writes of
// their environment's status.
const summaryDelay = 2 * time.Second

// Reconciler reports for each DGbotEnvironment whether its rules can be enforced, and sums up its keys. The controller of keys enforces the
// rules.
type Reconciler struct {
	// Client reads environments, keys and the metadata of namespaces from the cache, and writes.
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock

	attempts write.Attempts
}

// Reconcile writes the status of one environment.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	env := &v1alpha1.DGbotEnvironment{}
	found, err := read.Get(ctx, r.Client, request.NamespacedName, env)
	if err == nil && !found {
		r.attempts.Forget(request.NamespacedName)
	}
	if err != nil || !found || !env.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, err
	}
	seen, failed := r.observe(ctx, env)
	if err := r.attempts.RetryReads(request.NamespacedName, &failed, r.Clock.Now()); err != nil {
		return write.Result(err)
	}
	seen.Failed = failed.Reads
	status, wake := environments.Status(seen, r.Clock.Now())
	again := ctrl.Result{}
	if !wake.IsZero() {
		// Timers run on the monotonic clock: see queue.MaxWait.
		again.RequeueAfter = min(max(wake.Sub(r.Clock.Now()), time.Millisecond), queue.MaxWait)
	}
	if equality.Semantic.DeepEqual(*status, env.Status) {
		return again, nil
	}
	for _, event := range environments.Events(&env.Status, status) {
		write.RecordEvent(r.Recorder, env, event)
		ctrl.LoggerFrom(ctx).Info(event.Note, "reason", event.Reason)
	}
	_, err = write.ApplyStatus(ctx, r.Client, v1alpha1.EnvironmentKind, env, status)
	if err = client.IgnoreNotFound(err); err == nil {
		return again, nil
	}
	return write.Result(err)
}

// observe reads the objects that the status of an environment depends on. A failed read becomes part of the observation.
func (r *Reconciler) observe(ctx context.Context, env *v1alpha1.DGbotEnvironment) (seen environments.Observation, failed read.Failures) {
	seen.Environment = env
	for i, w := range schedule.WindowsOf(&env.Spec, rules.LocationOf) {
		if w.Location == nil {
			seen.UnknownZones = append(seen.UnknownZones, environments.UnknownZone{Window: i, Name: schedule.TimeZoneOf(&env.Spec.Rotation.Windows[i])})
		}
	}
	var err error
	seen.SelectsNothing, err = r.selectsNothing(ctx, &env.Spec)
	failed.Note(report.ReadNamespaces, read.Wrap(err, "the list of namespaces"))
	var keys v1alpha1.DGbotAPIKeyList
	err = read.Bounded(ctx, func(ctx context.Context) error {
		return r.Client.List(ctx, &keys, client.MatchingFields{rules.EnvironmentIndex: env.Name}, client.UnsafeDisableDeepCopy)
	})
	failed.Note(report.ReadKeys, read.Wrap(err, "the list of DGbotAPIKeys of the environment"))
	seen.Keys = keys.Items
	return seen, failed
}

// selectsNothing reports whether no namespace may hold keys of the environment.
func (r *Reconciler) selectsNothing(ctx context.Context, rules *v1alpha1.DGbotEnvironmentSpec) (bool, error) {
	if rules.NamespaceSelector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rules.NamespaceSelector)
	if err != nil {
		return true, nil //nolint:nilerr // a selector that cannot be read selects nothing
	}
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := read.Bounded(ctx, func(ctx context.Context) error { return r.Client.List(ctx, namespaces, client.UnsafeDisableDeepCopy) }); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(namespaces.Items, func(n metav1.PartialObjectMetadata) bool { return caching.SelectsNamespace(selector, n.Labels) }), nil
}

// SetupWithManager registers the reconciler and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DGbotEnvironment{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.DGbotAPIKey{}, gathered()).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.selecting), builder.OnlyMetadata, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, RateLimiter: queue.RateLimiter()}).
		Complete(r)
}

// gathered wakes the environment of a key some time after a change of the key that the summary counts.
func gathered() handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(o client.Object, q requests) {
		if key, ok := o.(*v1alpha1.DGbotAPIKey); ok {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: key.Spec.Environment}}, summaryDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requests) { wake(e.Object, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requests) { wake(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requests) {
			old, ok := e.ObjectOld.(*v1alpha1.DGbotAPIKey)
			next, alsoOK := e.ObjectNew.(*v1alpha1.DGbotAPIKey)
			if ok && alsoOK && environments.FacetOf(old) != environments.FacetOf(next) {
				wake(e.ObjectNew, q)
			}
		},
	}
}

// selecting returns the environments whose rules select namespaces.
func (r *Reconciler) selecting(ctx context.Context, _ client.Object) []reconcile.Request {
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
