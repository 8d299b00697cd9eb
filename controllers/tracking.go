// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
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
	"dgbot.io/key-operator/internal/lifecycle"
)

// trackingOf reads what a Lease of the verifiers vouches for; nil where it says nothing that can be understood.
func trackingOf(lease *coordinationv1.Lease) *lifecycle.Tracking {
	since, err := time.Parse(time.RFC3339, lease.Annotations[v1alpha1.TrackedSinceAnnotation])
	if err != nil || lease.Spec.RenewTime == nil {
		return nil
	}
	tracking := &lifecycle.Tracking{Since: since, Renewed: lease.Spec.RenewTime.Time, Lag: lifecycle.MaxTrackingGap}
	if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil {
		tracking.Lag = min(time.Duration(*seconds)*time.Second, lifecycle.MaxTrackingGap)
	}
	return tracking
}

// tracking returns what is vouched for the environment. The cache is good enough, also to end a revision on: a Lease that
// is behind vouches for less.
func (r *APIKeyReconciler) tracking(ctx context.Context, environment string) (*lifecycle.Tracking, error) {
	lease, name := &coordinationv1.Lease{}, types.NamespacedName{Namespace: r.UsageNamespace, Name: v1alpha1.UsageLeasePrefix + environment}
	found, err := get(ctx, r.Client, name, lease)
	if err != nil {
		err = bounded(ctx, func(ctx context.Context) (err error) {
			found, err = get(ctx, r.Live, name, lease)
			return err
		})
	}
	if err != nil || !found {
		return nil, reading(err, "Lease %s", name)
	}
	return trackingOf(lease), nil
}

// environmentOf returns the environment whose uses a Lease vouches for; empty for other Leases.
func environmentOf(lease client.Object) string {
	environment, ours := strings.CutPrefix(lease.GetName(), v1alpha1.UsageLeasePrefix)
	if !ours {
		return ""
	}
	return environment
}

// notOfRenewalAlone leaves out what changes nothing for keys: other Leases, renewals, of which there are some every
// minute, and the deletion of Leases that no verifier renews. Keys that wait for one look by themselves.
func (r *APIKeyReconciler) notOfRenewalAlone() predicate.Predicate {
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool { return environmentOf(o) != "" })
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
func (r *APIKeyReconciler) wakeKeysOfLease() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(ctx context.Context, lease client.Object, queue queue) {
		for _, request := range r.keysWhere(ctx, client.MatchingFields{environmentField: environmentOf(lease)}) {
			wakeLater(queue, request)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue queue) { wake(ctx, e.Object, queue) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue queue) { wake(ctx, e.ObjectNew, queue) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue queue) { wake(ctx, e.Object, queue) },
	}
}
