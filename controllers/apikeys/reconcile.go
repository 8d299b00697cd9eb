// SPDX-License-Identifier: Apache-2.0

// Package apikeys reconciles DGbotAPIKeys. A pass observes the key, its Secret and its records, from caches where they are good enough
// (observe.go); has internal/lifecycle plan; observes live and applies the steps if there are any (publish.go, amend.go); and reports in
// events and the status (status.go).
package apikeys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/queue"
	"dgbot.io/key-operator/controllers/internal/ranks"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/verifiers"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

const (
	// cacheLag is how far the cache may be behind our own writes before a live read is worth its request.
	cacheLag = 5 * time.Second
	// maxConflicts is how many conflicts in a row count as such. More are a rejection: some webhooks answer 409 for good.
	maxConflicts = 5 * write.MaxObservations
	// maxPlans is how many plans one observation may take to converge; more would be a defect of the policy.
	maxPlans = 12
)

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
	// Verifiers knows the registered verifiers.
	Verifiers *verifiers.Registry
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
		r.Verifiers.StopWaiting(request.NamespacedName)
		r.attempts.Forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	decision := lifecycle.Plan(seen.Observation, r.Clock.Now())
	older, since := r.memory.olderThanReport(seen.Key, r.Clock.Now())
	if older && since >= 0 && since < cacheLag && len(decision.Steps) == 0 {
		return ctrl.Result{RequeueAfter: lagOf(seen)}, nil
	}
	if older || needsLive(seen, decision) {
		rejections := r.withdrawCached(ctx, seen)
		// A cache may be old, and neither minting nor revoking can be taken back: observe live and plan again.
		seen, decision, err = r.converge(ctx, request.NamespacedName, seen.usableForSnapshot(decision), rejections)
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
	r.await(seen.Key, decision)
	wake := r.wake(seen, decision.Wake)
	if wake.IsZero() {
		return ctrl.Result{RequeueAfter: queue.MaxWait}, nil
	}
	return ctrl.Result{RequeueAfter: min(max(wake.Sub(r.Clock.Now()), time.Millisecond), queue.MaxWait)}, nil
}

// needsLive reports whether what the cache shows is not enough for a decision: steps are due, a read failed, or the status would say something
// that an old cache could get wrong.
func needsLive(seen *observed, decision lifecycle.Decision) bool {
	return len(decision.Steps) > 0 || len(seen.Failed) > 0 || reportsFailedReads(seen.Key) ||
		seen.unconfirmed && differs(decision.Status, seen.Key) || reportsWithdrawal(decision.Status, seen.Key) || endsPropagation(decision.Status, seen.Key)
}

// converge observes live and applies plans until one has no steps. It returns that plan with the observation that it was made from; nil if the
// key is gone. cached is what the cache showed before, nil if the records must be listed. rejections are the changes that the API server has
// rejected in this pass.
func (r *Reconciler) converge(ctx context.Context, name types.NamespacedName, cached *observed, rejections map[rejectedChange]error) (*observed, lifecycle.Decision, error) {
	var err error
	var attempted *observed
	for range write.MaxObservations {
		var seen *observed
		if seen, err = r.observeLive(ctx, name, cached); err != nil || seen == nil {
			return nil, lifecycle.Decision{}, err
		}
		cached = nil // a conflict shows that the cache is old
		seen.rejections, seen.Rejection = rejections, attempted.answerFor(seen)
		attempted = nil
		r.expireDoubtful(ctx, seen)
		var decision lifecycle.Decision
		decision, err = r.planAndApply(ctx, seen)
		if seen.Key == nil {
			return nil, lifecycle.Decision{}, nil // whatever failed concerned a key that is gone
		}
		if !errors.Is(err, write.ErrConflict) && !errors.Is(err, errNeedsList) {
			return seen, decision, err
		}
		if errors.Is(err, errNeedsList) {
			attempted = seen
		}
	}
	return nil, lifecycle.Decision{}, err
}

// answerFor returns the rejection of an attempt that was made from a snapshot, if a list of the records does not change it: the attempt would write
// the same Secret for the same key. A rejected record has cost nothing, and would keep the records that the list shows from being revoked.
func (o *observed) answerFor(listed *observed) *report.Rejection {
	if o == nil || o.Rejection == nil || o.Rejection.Reason == v1alpha1.RecordWriteRefusedReason ||
		o.Key.Generation != listed.Key.Generation || o.secretVersion() != listed.secretVersion() {
		return nil
	}
	return o.Rejection
}

// planAndApply plans and applies until a plan has no steps. A rejection becomes part of the observation: the next plan reports it, and does what
// does not depend on the write.
func (r *Reconciler) planAndApply(ctx context.Context, seen *observed) (lifecycle.Decision, error) {
	for range maxPlans {
		r.observeVerifiers(ctx, seen)
		decision := lifecycle.Plan(seen.Observation, r.Clock.Now())
		planned, err := r.stepsToApply(seen, decision)
		if err != nil || len(planned) == 0 {
			return decision, err
		}
		err = r.escalateConflict(seen, r.execute(ctx, seen, planned))
		var rejected *write.RejectedError
		switch {
		case seen.Key == nil:
			return decision, err
		case errors.Is(err, write.ErrConflict), errors.Is(err, errNeedsList):
			return decision, err
		case errors.As(err, &rejected):
			ctrl.LoggerFrom(ctx).Info("The API server rejects a write", "reason", rejected.Rejection.Reason, "message", rejected.Rejection.Message)
			seen.Rejection = &rejected.Rejection
		case err != nil:
			return decision, err
		}
	}
	return lifecycle.Decision{}, fmt.Errorf("planning for key %s/%s did not converge after %d passes", seen.Key.Namespace, seen.Key.Name, maxPlans)
}

// escalateConflict turns a conflict that repeats more than maxConflicts times into a rejection.
func (r *Reconciler) escalateConflict(seen *observed, err error) error {
	if seen.Key == nil {
		return err // it was deleted meanwhile
	}
	attempt := write.Attempt{Object: client.ObjectKeyFromObject(seen.Key), What: carryingOut}
	var conflict *write.ConflictError
	if !errors.As(err, &conflict) {
		if err == nil {
			r.attempts.Succeed(attempt)
		}
		return err
	}
	if seen.unlisted || r.attempts.Fail(attempt, r.Clock.Now()) <= maxConflicts {
		return err // the conflict of a snapshot is that of an old cache
	}
	return conflict.Reject()
}

// execute applies the planned steps in their order. An issued revision ends the pass. After a step that fails, the following steps are applied all the
// same: they revoke the revision that was to be replaced, or another one. Only after a conflict they wait for the next plan.
func (r *Reconciler) execute(ctx context.Context, seen *observed, planned []steps.Step) error {
	if err := r.confirmKey(ctx, seen, planned); err != nil || seen.Key == nil {
		return err
	}
	var failed, busy error
	for _, step := range planned {
		var err error
		switch step := step.(type) {
		case steps.IssueRevision:
			err = r.issue(ctx, seen, step)
			if errors.Is(err, errNeedsList) {
				return err // a leaked key is revoked after an attempt to replace it, and that was none
			}
			if err == nil && seen.unlisted && step.Cause == v1alpha1.CauseFirstIssue {
				// There is no other record to change, and the status is written on the version of the key that was read, or rejected.
				return failed
			}
			if err == nil {
				return errors.Join(failed, r.rereadKey(ctx, seen))
			}
			if errors.Is(err, write.ErrBusy) {
				busy = err
				continue
			}
			failed = errors.Join(failed, err)
			continue
		case steps.AmendRecord:
			err = r.amend(ctx, seen, step)
		case steps.DeleteRecord:
			err = r.deleteRecord(ctx, seen, step)
		case steps.RepairSecret:
			err = r.repairSecret(ctx, seen)
		}
		failed = errors.Join(failed, err)
		if errors.Is(err, write.ErrConflict) {
			break
		}
	}
	if failed == nil {
		return busy
	}
	// A failed step is retried sooner than one that has to wait.
	return failed
}

// rereadKey reads the key once more after a publication: meanwhile it may have been revoked or deleted, or have another request. It sets seen.Key
// to nil if the key is gone, or was created anew.
func (r *Reconciler) rereadKey(ctx context.Context, seen *observed) error {
	key := &v1alpha1.DGbotAPIKey{}
	found, err := read.Get(ctx, r.Live, client.ObjectKeyFromObject(seen.Key), key)
	if err != nil {
		return err
	}
	if !found || key.UID != seen.Key.UID {
		seen.Key = nil
		return nil
	}
	seen.Key, seen.keyConfirmed = key, true
	return nil
}

// confirmKey reads the key again before a revision is issued or its records are curtailed. They were read after it: in between a user may have
// enabled the key or given it more time, and another instance may have issued the revision that is about to be revoked for good, or one
// whose record is gone again, so that another cause would be named. Reading the key last instead was refused: a status that is newer than the
// records makes a revision due that another instance has just issued.
func (r *Reconciler) confirmKey(ctx context.Context, seen *observed, planned []steps.Step) error {
	// A snapshot of the records is older than the key: the next revision follows from both.
	depends := func(step steps.Step) bool { return curtails(step) || issues(step) && !seen.unlisted }
	if seen.keyConfirmed || !seen.Key.DeletionTimestamp.IsZero() || !slices.ContainsFunc(planned, depends) {
		return nil
	}
	key := &v1alpha1.DGbotAPIKey{}
	found, err := read.Get(ctx, r.Live, client.ObjectKeyFromObject(seen.Key), key)
	switch {
	case err != nil:
		return err
	case !found || key.UID != seen.Key.UID:
		seen.Key = nil
	case key.Generation != seen.Key.Generation || !key.DeletionTimestamp.IsZero() ||
		!slices.Equal(requestsIn(key), requestsIn(seen.Key)) || !equality.Semantic.DeepEqual(key.Status.Current, seen.Key.Status.Current):
		write.Conflicts.Inc()
		return write.ErrConflict
	}
	seen.keyConfirmed = true
	return nil
}

func requestsIn(key *v1alpha1.DGbotAPIKey) []string {
	return []string{key.Annotations[v1alpha1.RotateRequestedAtAnnotation], key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation], key.Annotations[v1alpha1.KeptAtAnnotation]}
}

func issues(step steps.Step) bool {
	_, ok := step.(steps.IssueRevision)
	return ok
}

// curtails reports whether a step shortens the time for which a record is accepted.
func curtails(step steps.Step) bool {
	amend, ok := step.(steps.AmendRecord)
	return ok && (amend.NotAfter != nil || amend.State == v1alpha1.StateRevoked || amend.State == v1alpha1.StateDisabled)
}

// failed ends a pass that did not converge. It reports the conditions, so that a key whose writes time out for an hour shows that it is in
// progress. Events and the rest of the status wait for the outcome: status.current distinguishes a lost record from an altered Secret.
func (r *Reconciler) failed(ctx context.Context, seen *observed, decision lifecycle.Decision, err error) (ctrl.Result, error) {
	if errors.Is(err, errPostponed) {
		return ctrl.Result{RequeueAfter: write.YieldDelay}, nil
	}
	result, retry := write.Result(err)
	if retry == nil && !errors.Is(err, write.ErrBusy) || seen == nil || seen.Key == nil || decision.Status == nil {
		return result, retry
	}
	if saysWithdrawn(decision.Status) && slices.ContainsFunc(decision.Steps, curtails) {
		return result, retry // the conditions would say that what failed is done
	}
	status := seen.Key.Status.DeepCopy()
	status.Conditions = decision.Status.Conditions
	if differs(status, seen.Key) {
		retry = errors.Join(retry, r.writeStatus(ctx, seen.Key, status))
	}
	return result, retry
}

// saysWithdrawn reports whether a status says that no revision is accepted, as the spec or the audit asks.
func saysWithdrawn(status *v1alpha1.DGbotAPIKeyStatus) bool {
	return slices.Contains([]string{v1alpha1.DisabledReason, v1alpha1.RevokedReason, v1alpha1.ExpiredReason}, readyReason(status))
}

// reportsFailedReads reports whether a key's status names a failed read. The cache cannot clear it: it may know what the API server
// does not answer.
func reportsFailedReads(key *v1alpha1.DGbotAPIKey) bool {
	return readyReason(&key.Status) == v1alpha1.ObservationFailedReason
}
