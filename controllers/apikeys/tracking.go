// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// trackingOf returns the tracking that a usage Lease vouches for; nil if the Lease is invalid.
func trackingOf(lease *coordinationv1.Lease) *tracking.Tracking {
	since, err := time.Parse(time.RFC3339, lease.Annotations[v1alpha1.TrackedSinceAnnotation])
	if err != nil || lease.Spec.RenewTime == nil {
		return nil
	}
	tracked := &tracking.Tracking{Since: since, Renewed: lease.Spec.RenewTime.Time, Lag: tracking.MaxTrackingGap}
	if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil {
		tracked.Lag = min(time.Duration(*seconds)*time.Second, tracking.MaxTrackingGap)
	}
	return tracked
}

// tracking returns the tracking of an environment. The cache is good enough, also to expire a revision: an outdated Lease covers less.
func (r *Reconciler) tracking(ctx context.Context, environment string) (*tracking.Tracking, error) {
	lease, name := &coordinationv1.Lease{}, types.NamespacedName{Namespace: r.UsageNamespace, Name: v1alpha1.UsageLeasePrefix + environment}
	found, err := read.Get(ctx, r.Client, name, lease)
	if err != nil {
		err = read.Bounded(ctx, func(ctx context.Context) (err error) {
			found, err = read.Get(ctx, r.Live, name, lease)
			return err
		})
	}
	if err != nil || !found {
		return nil, read.Wrap(err, "Lease %s", name)
	}
	return trackingOf(lease), nil
}

// notOfRenewalAlone leaves out what changes nothing for keys: other Leases, renewals, of which there are some every
// minute, and the deletion of Leases that no verifier renews. Keys that wait for one look by themselves.
func (r *Reconciler) notOfRenewalAlone() predicate.Predicate {
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool { return rules.EnvironmentOfLease(o) != "" })
	return predicate.And(ours, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*coordinationv1.Lease)
			return !ok || e.ObjectOld.GetAnnotations()[v1alpha1.TrackedSinceAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.TrackedSinceAnnotation] ||
				!trackingOf(before).At(r.Clock.Now())
		},
		DeleteFunc: func(e event.DeleteEvent) bool {
			lease, ok := e.Object.(*coordinationv1.Lease)
			return !ok || trackingOf(lease).At(r.Clock.Now())
		},
	})
}

// wakeKeysOfLease wakes all keys of an environment when its tracking begins, begins anew or ends. That may be thousands,
// and none of it is urgent.
func (r *Reconciler) wakeKeysOfLease() handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(ctx context.Context, lease client.Object, to requests) {
		for _, request := range r.keysWhere(ctx, client.MatchingFields{rules.EnvironmentIndex: rules.EnvironmentOfLease(lease)}) {
			queue.AddLater(to, request)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, to requests) { wake(ctx, e.Object, to) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, to requests) { wake(ctx, e.ObjectNew, to) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, to requests) { wake(ctx, e.Object, to) },
	}
}
