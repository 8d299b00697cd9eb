// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

const (
	// maxConflicts is how many conflicts in a row count as such. More are a rejection: some webhooks answer 409 for good.
	maxConflicts = 5 * write.MaxObservations
	// maxPlans is how many plans one observation may take to converge; more would be a defect of the policy.
	maxPlans = 12
	// repairPause is how long a Secret or a record is not written after something undid a write of it: what undoes it may change something
	// each time, which would cause the next attempt at once.
	repairPause = time.Minute
)

// converge observes live and applies plans until one has no steps. It returns that plan with the observation that it was made from; nil if the
// key is gone.
func (r *Reconciler) converge(ctx context.Context, name types.NamespacedName) (*observed, lifecycle.Decision, error) {
	var err error
	for range write.MaxObservations {
		var seen *observed
		if seen, err = r.observeLive(ctx, name); err != nil || seen == nil {
			return nil, lifecycle.Decision{}, err
		}
		r.expireDoubtful(ctx, seen)
		var decision lifecycle.Decision
		decision, err = r.planAndApply(ctx, seen)
		if seen.Key == nil {
			return nil, lifecycle.Decision{}, nil // whatever failed concerned a key that is gone
		}
		if !errors.Is(err, write.ErrConflict) {
			return seen, decision, err
		}
	}
	return nil, lifecycle.Decision{}, err
}

// planAndApply plans and applies until a plan has no steps. A rejection becomes part of the observation: the next plan reports it, and does what
// does not depend on the write.
func (r *Reconciler) planAndApply(ctx context.Context, seen *observed) (lifecycle.Decision, error) {
	for range maxPlans {
		decision := lifecycle.Plan(seen.Observation, r.Clock.Now())
		if len(decision.Steps) == 0 {
			return decision, nil
		}
		err := r.escalateConflict(seen, r.execute(ctx, seen, decision.Steps))
		var rejected *write.RejectedError
		switch {
		case seen.Key == nil:
			return decision, err
		case errors.Is(err, write.ErrConflict):
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
	if r.attempts.Fail(attempt, r.Clock.Now()) <= maxConflicts {
		return err
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

// confirmKey reads the key again before its records are curtailed. They were read after it: in between a user may have enabled the key or given
// it more time, and another instance may have issued the revision that is about to be revoked for good. Reading the key last instead was
// refused: a status that is newer than the records makes a revision due that another instance has just issued.
func (r *Reconciler) confirmKey(ctx context.Context, seen *observed, planned []steps.Step) error {
	if seen.keyConfirmed || !seen.Key.DeletionTimestamp.IsZero() || !slices.ContainsFunc(planned, curtails) {
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
		!slices.Equal(requestsIn(key), requestsIn(seen.Key)):
		write.Conflicts.Inc()
		return write.ErrConflict
	}
	seen.keyConfirmed = true
	return nil
}

func requestsIn(key *v1alpha1.DGbotAPIKey) []string {
	return []string{key.Annotations[v1alpha1.RotateRequestedAtAnnotation], key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation], key.Annotations[v1alpha1.KeptAtAnnotation]}
}

// curtails reports whether a step shortens the time for which a record is accepted.
func curtails(step steps.Step) bool {
	amend, ok := step.(steps.AmendRecord)
	return ok && (amend.NotAfter != nil || amend.State == v1alpha1.StateRevoked || amend.State == v1alpha1.StateDisabled)
}

// amend changes a record with a patch that mostly has no resourceVersion. All changes but Disabled are one-way, and the API server guards them:
// a second instance writes the same, or is rejected, which means that another one went further.
func (r *Reconciler) amend(ctx context.Context, seen *observed, step steps.AmendRecord) error {
	change := write.Attempt{Object: client.ObjectKeyFromObject(seen.Key), What: amending + step.Name}
	if r.attempts.LastFailure(change).Within(repairPause, r.Clock.Now()) {
		return alteredRecord(step.Name, "changed") // and not counted again: nothing has been written
	}
	patch, err := amendment(step)
	if err != nil {
		return err
	}
	record := &v1alpha1.DGbotAPIKeyRecord{}
	record.Namespace, record.Name = seen.Key.Namespace, step.Name
	err = r.Client.Patch(ctx, record, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsInvalid(err) && r.changedSince(ctx, seen, step) {
		// The CRD's transition rules rejected the patch: another instance already went further.
		write.Conflicts.Inc()
		return write.ErrConflict
	}
	if err := write.Classify(err, v1alpha1.RecordWriteRefusedReason); err != nil {
		return fmt.Errorf("changing record %s: %w", step.Name, err)
	}
	ctrl.LoggerFrom(ctx).V(1).Info("Amended record", "record", step.Name, "patch", string(patch))
	for i := range seen.Records {
		if seen.Records[i].UID == record.UID {
			seen.Records[i] = *record
		}
	}
	if step.ChatbotID != nil && record.Spec.Hash == seen.Secret.Hash {
		seen.Secret.Drifted = true // it has the ID as well
	}
	if err := checkAmendment(record, step); err != nil {
		r.attempts.Fail(change, r.Clock.Now())
		return err
	}
	r.attempts.Succeed(change)
	return nil
}

// checkAmendment returns a rejection if a record that was just amended is not as the step asked for.
func checkAmendment(record *v1alpha1.DGbotAPIKeyRecord, step steps.AmendRecord) error {
	wanted := record.DeepCopy()
	step.ApplyTo(wanted)
	// Another instance may have gone further.
	if wanted.Spec.State != v1alpha1.StateRevoked && record.Spec.State == v1alpha1.StateRevoked {
		wanted.Spec.State = record.Spec.State
	}
	if end := record.Spec.NotAfter; end != nil && wanted.Spec.NotAfter != nil && end.Before(wanted.Spec.NotAfter) {
		wanted.Spec.NotAfter = end
	}
	return checkWritten(record, wanted, "changed")
}

// checkWritten returns a rejection if a record is not what was written.
func checkWritten(record, wanted *v1alpha1.DGbotAPIKeyRecord, how string) error {
	if equality.Semantic.DeepEqual(record.Spec, wanted.Spec) && revisions.SupersededBy(record) == revisions.SupersededBy(wanted) &&
		record.Annotations[v1alpha1.AuditAnnotation] == wanted.Annotations[v1alpha1.AuditAnnotation] &&
		standing.Of(record).Owned == standing.Of(wanted).Owned {
		return nil
	}
	return write.Count(alteredRecord(record.Name, how))
}

// alteredRecord is write.Altered for a record, which a policy may alter as well, and which is exempted by its kind.
func alteredRecord(name, how string) *write.RejectedError {
	return &write.RejectedError{Rejection: report.Rejection{Reason: v1alpha1.RecordWriteRefusedReason, Message: fmt.Sprintf(
		"Record %q was %s, and something (a mutating webhook or policy?) made something else of it in the same write: exempt dgbotapikeyrecords from it", name, how)}}
}

// changedSince reports whether the record changed after the step was planned.
func (r *Reconciler) changedSince(ctx context.Context, seen *observed, step steps.AmendRecord) bool {
	now := &v1alpha1.DGbotAPIKeyRecord{}
	found, err := read.Get(ctx, r.Live, types.NamespacedName{Namespace: seen.Key.Namespace, Name: step.Name}, now)
	if err != nil || !found {
		return err == nil
	}
	return !slices.ContainsFunc(seen.Records, func(then v1alpha1.DGbotAPIKeyRecord) bool {
		return then.UID == now.UID && then.ResourceVersion == now.ResourceVersion
	})
}

// amendment returns the merge patch of a step. Because of the uid in it, the API server rejects the patch for another object of the name.
func amendment(step steps.AmendRecord) ([]byte, error) {
	metadata := map[string]any{"uid": step.UID}
	if step.Version != "" {
		metadata["resourceVersion"] = step.Version
	}
	annotations := map[string]any{}
	if step.SupersededBy != 0 {
		annotations[v1alpha1.SupersededByAnnotation] = strconv.FormatInt(step.SupersededBy, 10)
	}
	if step.Audit != nil {
		annotations[v1alpha1.AuditAnnotation] = cleared(*step.Audit)
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	spec := map[string]any{}
	if step.State != "" {
		spec["state"] = step.State
	}
	if step.NotAfter != nil {
		spec["notAfter"] = step.NotAfter
	}
	if step.Label != "" {
		spec["label"] = step.Label
	}
	if step.ChatbotID != nil {
		spec["chatbotID"] = cleared(*step.ChatbotID)
	}
	if step.Scopes != nil {
		spec["scopes"] = *step.Scopes
	}
	patch := map[string]any{"metadata": metadata}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return json.Marshal(patch)
}

// cleared returns a value for a merge patch: null for an empty one, which removes it.
func cleared(value string) any {
	if value == "" {
		return nil
	}
	return value
}

func (r *Reconciler) deleteRecord(ctx context.Context, seen *observed, step steps.DeleteRecord) error {
	record := &v1alpha1.DGbotAPIKeyRecord{}
	record.Namespace, record.Name = seen.Key.Namespace, step.Name
	err := client.IgnoreNotFound(r.Client.Delete(ctx, record, client.Preconditions{UID: &step.UID}))
	var rejected *write.RejectedError
	switch err = write.Classify(err, v1alpha1.RecordWriteRefusedReason); {
	case errors.As(err, &rejected):
		// A record that is kept for longer does no harm.
		ctrl.LoggerFrom(ctx).Info("The API server rejects the deletion of an ended record: it is kept", "record", step.Name, "message", rejected.Rejection.Message)
		seen.KeepEnded = true
		return nil
	case err != nil:
		return fmt.Errorf("deleting record %s: %w", step.Name, err)
	}
	kept := seen.Records[:0]
	for _, other := range seen.Records {
		if other.UID != step.UID {
			kept = append(kept, other)
		}
	}
	seen.Records = kept
	return nil
}

// repairSecret restores what the operator publishes in the Secret. It is a patch of the differences and no write.Put: the key is not among them,
// so that it is not written again.
func (r *Reconciler) repairSecret(ctx context.Context, seen *observed) error {
	if seen.secret == nil {
		return write.ErrConflict
	}
	name := client.ObjectKeyFromObject(seen.Key)
	altered := published.AlteredSecret(seen.secret.Name)
	if r.attempts.LastFailure(write.Attempt{Object: name, What: repairing}).Within(repairPause, r.Clock.Now()) {
		return altered // and not counted again: nothing has been written
	}
	repaired := seen.secret.DeepCopy()
	record := seen.recordOf(seen.Secret.Hash)
	if record != nil {
		dress(repaired, seen.Key, record)
	} else {
		published.SetOwner(repaired, seen.Key, v1alpha1.APIKeyKind)
		record = &v1alpha1.DGbotAPIKeyRecord{}
	}
	if err := r.Client.Patch(ctx, repaired, client.MergeFromWithOptions(seen.secret, client.MergeFromWithOptimisticLock{})); err != nil {
		err = r.withoutPluginText(ctx, seen, record, err)
		return write.Classify(write.Redact(err, seen.publishedText()), v1alpha1.SecretWriteRefusedReason)
	}
	ctrl.LoggerFrom(ctx).Info("Repaired Secret", "secret", repaired.Name)
	if err := r.observeWritten(ctx, seen, repaired); err != nil {
		return err
	}
	if seen.Secret.Drifted {
		r.attempts.Fail(write.Attempt{Object: name, What: repairing}, r.Clock.Now())
		return write.Count(altered)
	}
	return nil
}
