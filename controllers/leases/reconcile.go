// SPDX-License-Identifier: Apache-2.0

// Package leases deletes the Leases of verifiers that renew them no longer.
package leases

import (
	"context"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/rules"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
	"dgbot.io/key-operator/internal/registration"
)

const (
	// deletionRetry is the delay before the deletion of a usage Lease is retried.
	deletionRetry = 10 * time.Minute
	// leaseDeletionLogInterval is the time between two logs of failed deletions, for any number of Leases.
	leaseDeletionLogInterval = time.Hour
	// stoppedRetention is how long the Lease of a verifier that has stopped is kept: each manager instance, and kubectl dgbot --wait, see
	// that it has stopped, and not only that it is missing.
	stoppedRetention = time.Minute
)

const deletionFailed = "A Lease that no verifier renews cannot be deleted. It is retried every 10 minutes, and nothing else " +
	"depends on it. If the right is missing, give the manager's account a Role in the namespace of --usage-namespace that may delete leases"

// Reconciler deletes the Leases of environments that verifiers no longer serve, and those of verifiers that have stopped or are gone.
// Verifiers create a Lease for each environment in which there are keys, so keys in invented environments would otherwise leave Leases
// forever. Each verifier process registers by a new Lease, which only the process renews.
//
// How long a Lease was not renewed is measured on this process's monotonic clock, from when the process first saw this version of the
// Lease. The alternative, spec.renewTime, is a verifier's clock. A jump of either clock would delete Leases that are still renewed, and
// with each the time since when uses are tracked, or the registration of a verifier that answers. An instance that just started therefore
// waits for the whole time once more.
type Reconciler struct {
	// Client reads Leases from the cache, and deletes them.
	Client client.Client
	// Clock measures the time since a Lease was renewed.
	Clock clock.PassiveClock

	mutex sync.Mutex
	// seen are the Leases as the cache showed them last.
	seen map[types.NamespacedName]seenLease
	// logged is when a failed deletion was last logged.
	logged time.Time
}

// seenLease is a version of a Lease, and when it was first seen.
type seenLease struct {
	uid             types.UID
	resourceVersion string
	since           time.Time
}

// Reconcile deletes a Lease that was not renewed for its retention.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	lease := &coordinationv1.Lease{}
	found, err := read.Get(ctx, r.Client, request.NamespacedName, lease)
	if err != nil {
		return ctrl.Result{}, err
	}
	retention, ends := retentionOf(lease)
	if !found || !ends || !lease.DeletionTimestamp.IsZero() {
		r.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	if left := retention - r.unrenewed(lease); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	// If the cache is out of date, the version in the precondition is too, and the API server rejects the deletion.
	err = read.Bounded(ctx, func(ctx context.Context) error {
		return r.Client.Delete(ctx, lease, client.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion})
	})
	switch {
	case err == nil && isUsageLease(lease):
		ctrl.LoggerFrom(ctx).Info("Deleted a usage Lease that no verifier renewed", "environment", rules.EnvironmentOfLease(lease))
	case err == nil:
		ctrl.LoggerFrom(ctx).Info("Deleted the registration of a verifier that no longer runs", "stopped", registration.Of(lease).Stopped)
	case apierrors.IsConflict(err):
		write.Conflicts.Inc()
	case !apierrors.IsNotFound(err):
		r.logFailure(ctx, err)
	}
	return ctrl.Result{RequeueAfter: deletionRetry}, nil
}

// retentionOf returns for how long a Lease is kept after its last renewal. It reports false for a Lease that is not deleted: one of another
// client, and that of a verifier which may go on to answer although it is silent. A user who made sure that such a verifier no longer runs
// marks it as stopped.
func retentionOf(lease *coordinationv1.Lease) (time.Duration, bool) {
	if isUsageLease(lease) {
		return tracking.UsageLeaseRetention, true
	}
	if !isRegistration(lease) {
		return 0, false
	}
	r := registration.Of(lease)
	if r.Stopped {
		return stoppedRetention, true
	}
	longest, ends := r.LongestSilence()
	return longest + registration.Retention, ends
}

// isRegistration reports whether a verifier registers by a Lease.
func isRegistration(lease client.Object) bool {
	return registration.IsLease(lease) && strings.HasPrefix(lease.GetName(), v1alpha1.VerifierLeasePrefix)
}

// isUsageLease reports whether verifiers report in a Lease since when uses are tracked, by its name and its annotation. The operator's own
// Lease and those by which verifiers register have other names.
func isUsageLease(lease client.Object) bool {
	_, tracks := lease.GetAnnotations()[v1alpha1.TrackedSinceAnnotation]
	return tracks && rules.EnvironmentOfLease(lease) != ""
}

// unrenewed returns for how long this version of a Lease has been the newest one, as far as the process knows.
func (r *Reconciler) unrenewed(lease *coordinationv1.Lease) time.Duration {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	name := client.ObjectKeyFromObject(lease)
	seen, ok := r.seen[name]
	if !ok || seen.uid != lease.UID || seen.resourceVersion != lease.ResourceVersion {
		if r.seen == nil {
			r.seen = map[types.NamespacedName]seenLease{}
		}
		seen = seenLease{lease.UID, lease.ResourceVersion, r.Clock.Now()}
		r.seen[name] = seen
	}
	return r.Clock.Since(seen.since)
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.seen, name)
}

// logFailure logs a failed deletion, at most one in leaseDeletionLogInterval: where a right is missing, all deletions fail.
func (r *Reconciler) logFailure(ctx context.Context, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !r.logged.IsZero() && r.Clock.Since(r.logged) < leaseDeletionLogInterval {
		return
	}
	r.logged = r.Clock.Now()
	ctrl.LoggerFrom(ctx).Error(err, deletionFailed)
}

// SetupWithManager registers the reconciler and its watch.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	ofVerifiers := predicate.NewPredicateFuncs(func(o client.Object) bool { return isUsageLease(o) || isRegistration(o) })
	return ctrl.NewControllerManagedBy(mgr).
		Named("usagelease").
		For(&coordinationv1.Lease{}, builder.WithPredicates(ofVerifiers)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: queue.RateLimiter()}).
		Complete(r)
}
