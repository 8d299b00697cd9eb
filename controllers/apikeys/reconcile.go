// SPDX-License-Identifier: Apache-2.0

// Package apikeys reconciles DGbotAPIKeys. A pass observes the key, its Secret and its records, from caches where they are good enough
// (observe.go); has internal/lifecycle plan; observes live and applies the steps if there are any (apply.go, publish.go); and reports in
// events and the status (status.go).
package apikeys

import (
	"context"
	"errors"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/ranks"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
)

// cacheLag is how far the cache may be behind our own writes before a live read is worth its request.
const cacheLag = 5 * time.Second

// Reconciler carries out the lifecycle of DGbotAPIKeys.
type Reconciler struct {
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
	// UsageNamespace is the namespace of the usage Leases.
	UsageNamespace string
	// RequireEnvironment holds back the first issue of a key whose environment has no DGbotEnvironment.
	RequireEnvironment bool

	memory   memory
	attempts write.Attempts
	gone     published.GoneOwners
	slow     write.SlowLane
	ranks    ranks.Index
}

// Reconcile brings one key closer to what its spec asks for.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	seen, err := r.observeCached(ctx, request.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if seen == nil {
		r.memory.forget(request.NamespacedName)
		r.attempts.Forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	decision := lifecycle.Plan(seen.Observation, r.Clock.Now())
	older, since := r.memory.olderThanReport(seen.Key, r.Clock.Now())
	if older && since >= 0 && since < cacheLag && len(decision.Steps) == 0 {
		return ctrl.Result{RequeueAfter: cacheLag}, nil
	}
	if len(decision.Steps) > 0 || older || len(seen.Failed) > 0 || reportsFailedReads(seen.Key) || seen.unconfirmed && differs(decision.Status, seen.Key) {
		// A cache may be old, and neither minting nor revoking can be taken back: observe live and plan again.
		seen, decision, err = r.converge(ctx, request.NamespacedName)
		if err != nil {
			return r.failed(ctx, seen, decision, err)
		}
		if seen == nil {
			return ctrl.Result{}, nil
		}
	}
	if err := r.attempts.RetryReads(request.NamespacedName, &seen.failures, r.Clock.Now()); err != nil {
		return write.Result(err)
	}
	if err := r.report(ctx, seen, decision); err != nil {
		return write.Result(err)
	}
	wake := r.wake(seen, decision.Wake)
	if wake.IsZero() {
		return ctrl.Result{RequeueAfter: queue.MaxWait}, nil
	}
	return ctrl.Result{RequeueAfter: min(max(wake.Sub(r.Clock.Now()), time.Millisecond), queue.MaxWait)}, nil
}

// failed ends a pass that did not converge. It reports the conditions, so that a key whose writes time out for an hour shows that it is in
// progress. Events and the rest of the status wait for the outcome: status.current distinguishes a lost record from an altered Secret.
func (r *Reconciler) failed(ctx context.Context, seen *observed, decision lifecycle.Decision, err error) (ctrl.Result, error) {
	result, retry := write.Result(err)
	if retry == nil && !errors.Is(err, write.ErrBusy) || seen == nil || seen.Key == nil || decision.Status == nil {
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
