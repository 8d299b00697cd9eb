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

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// repairPause is how long a Secret or a record is not written after something undid a write of it: what undoes it may change something each
// time, which would cause the next attempt at once.
const repairPause = time.Minute

// maxWithdrawals bounds how many records of one key are patched at the same time.
const maxWithdrawals = 8

// amend changes a record with a patch that mostly has no resourceVersion (see AmendRecord.Version). All changes but Disabled are one-way, and
// the API server guards them: a second instance writes the same, or is rejected, which means that another one went further.
func (r *Reconciler) amend(ctx context.Context, seen *observed, step steps.AmendRecord) error {
	if rejection := seen.rejections[rejectedChange{step.UID, step.State}]; rejection != nil {
		return rejection
	}
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
	before := r.Verifiers.Version()
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
	if step.WithdrawnAt != nil && *step.WithdrawnAt != "" {
		r.noteWithdrawal(seen.Key, record, before)
	}
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
	if step.WithdrawnAt != nil {
		annotations[v1alpha1.WithdrawnAtAnnotation] = cleared(*step.WithdrawnAt)
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

// rejectedChange names a change of a record's state that the API server has rejected.
type rejectedChange struct {
	record types.UID
	state  v1alpha1.KeyState
}

// withdrawCached revokes or disables the records that the cache has, as the state or the deletion of the key asks. The pass has not read
// anything live yet: a list waits until the API server's cache has followed etcd, which takes about 100 ms, and a leaked key would be accepted
// for that long.
//
// The records are from the cache, and the key is read live after them. Thus each of these records was created before the state that
// withdraws it was read. The other order was refused: it could revoke a revision that another instance has issued since a user enabled
// the key again.
//
// The live observation that follows finds the records that the cache does not have yet, and plans again what failed. It gets the changes that
// were certainly rejected, so that it does not send them again.
func (r *Reconciler) withdrawCached(ctx context.Context, cached *observed) (rejections map[rejectedChange]error) {
	if len(lifecycle.WithdrawnByState(cached.Observation, r.Clock.Now())) == 0 {
		return nil
	}
	key := &v1alpha1.DGbotAPIKey{}
	found, err := read.Get(ctx, r.Live, client.ObjectKeyFromObject(cached.Key), key)
	if err != nil || !found || key.UID != cached.Key.UID {
		return nil // the live observation reads it again
	}
	confirmed := cached.Observation
	confirmed.Key = key
	withdrawn := lifecycle.WithdrawnByState(confirmed, r.Clock.Now())
	outcomes := make([]error, len(withdrawn))
	var patches errgroup.Group
	patches.SetLimit(maxWithdrawals)
	for i, step := range withdrawn {
		patches.Go(func() error {
			// Each has a copy of the records, because amend replaces the one that it changed.
			seen := &observed{Observation: lifecycle.Observation{Key: key, Records: slices.Clone(cached.Records)}}
			outcomes[i] = r.amend(ctx, seen, step)
			return nil
		})
	}
	_ = patches.Wait()
	rejections = map[rejectedChange]error{}
	for i, step := range withdrawn {
		// What was answered with 500 may have happened, and is sent again.
		if rejection := new(write.RejectedError); errors.As(outcomes[i], &rejection) && write.IsDefinite(outcomes[i]) {
			rejections[rejectedChange{step.UID, step.State}] = outcomes[i]
		}
	}
	return rejections
}

// reportsWithdrawal reports whether a planned status says for the first time that something was withdrawn. A cache may lack a record that
// is still accepted, so that only a live list proves it.
func reportsWithdrawal(planned *v1alpha1.DGbotAPIKeyStatus, key *v1alpha1.DGbotAPIKey) bool {
	if planned == nil {
		return false
	}
	return lifecycle.AskedState(key) != v1alpha1.StateActive && planned.ObservedGeneration != key.Status.ObservedGeneration ||
		readyReason(planned) == v1alpha1.ExpiredReason && readyReason(&key.Status) != v1alpha1.ExpiredReason || !revokedBefore(planned).Equal(revokedBefore(&key.Status))
}

// revokedBefore returns the cut-off up to which a status says that all revisions are revoked; nil if it says nothing.
func revokedBefore(status *v1alpha1.DGbotAPIKeyStatus) *metav1.Time {
	if status.LastHandledRequest == nil {
		return nil
	}
	return status.LastHandledRequest.RevokeIssuedBefore
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
