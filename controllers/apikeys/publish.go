// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// cleanUpTimeout bounds the write that expires an unpublished record, which comes after the deadline of the publication.
const cleanUpTimeout = 5 * time.Second

// doubtful is how long a write that was given up may still happen. It is longer than any API server waits for etcd.
const doubtful = 30 * time.Second

// issue mints a key, creates its record and publishes it. What a crash leaves:
//
//	before the record     nothing
//	before the Secret     a record whose key no client holds; the cause still stands, and the next pass issues another revision
//	after the Secret      the key is in use; the next plan supersedes the earlier revisions
//
// All of it has PublishTimeout, and the following steps, such as revoking a leaked key, wait no longer.
func (r *Reconciler) issue(ctx context.Context, seen *observed, step steps.IssueRevision) error {
	creation := write.Attempt{Object: client.ObjectKeyFromObject(seen.Key), What: creating}
	last := r.attempts.LastFailure(creation)
	if last.Within(report.Backoff(last.Times-1), r.Clock.Now()) {
		// A webhook that alters records may skip dry runs, so that a dry run would prove nothing.
		return alteredRecord(step.RecordName, "created")
	}
	if attempt := seen.freshAttempt(r.Clock.Now()); attempt != nil && step.Cause != v1alpha1.CauseRevocation &&
		r.attempts.MayYield(client.ObjectKeyFromObject(seen.Key), attempt.UID) {
		return write.ErrYield
	}
	leave, ok := r.slow.Enter(seen.Key.Namespace, r.Clock.Now())
	if !ok && step.Cause != v1alpha1.CauseRevocation {
		return write.ErrBusy
	}
	if ok {
		defer func() { leave(r.Clock.Now()) }()
	}
	ctx, cancel := context.WithTimeout(ctx, steps.PublishTimeout)
	defer cancel()
	if err := r.tryPublish(ctx, seen, step); err != nil {
		return err
	}
	if last.Times > 0 {
		if err := r.tryRecord(ctx, seen, step); err != nil {
			return err
		}
	}
	key, err := apikey.Mint(seen.Key.Spec.Environment)
	if err != nil {
		return err
	}
	record := steps.NewRecord(seen.Key, step, key.ID(), key.Hash())
	wanted := record.DeepCopy()
	if err := r.createRecord(ctx, seen, &record); err != nil {
		return err
	}
	if err := checkWritten(&record, wanted, "created"); err != nil {
		r.attempts.Fail(creation, r.Clock.Now())
		return errors.Join(err, r.endUnpublished(ctx, seen, &record))
	}
	r.attempts.Succeed(creation)
	published, err := r.publish(ctx, seen, &record, key)
	switch {
	case err == nil:
	case write.IsDefinite(err):
		published, err = r.afterRejection(ctx, seen, &record, err)
	default:
		r.memory.rememberDoubt(client.ObjectKeyFromObject(seen.Key), doubt{record.Spec.Hash, seen.secretVersion(), r.Clock.Now()})
	}
	if err != nil {
		unpublished.Inc()
		return err
	}
	issued.WithLabelValues(string(step.Cause)).Inc()
	ctrl.LoggerFrom(ctx).Info("Issued revision", "revision", step.Revision, "cause", step.Cause, "keyID", key.ID(), "secret", published.Name)
	if step.Loss != "" && step.Loss != step.Cause {
		write.RecordEvent(r.Recorder, seen.Key, lifecycle.LossEvent(seen.Observation, step.Loss))
	}
	seen.Records = append(seen.Records, record)
	return r.observeWritten(ctx, seen, published)
}

// freshAttempt returns the newest record if it was created so recently that another instance may be about to publish it; nil if there is none.
// Going on at once would be safe, and leave a record whose key no client holds.
func (o *observed) freshAttempt(now time.Time) *v1alpha1.DGbotAPIKeyRecord {
	var newest *v1alpha1.DGbotAPIKeyRecord
	for i := range o.Records {
		if newest == nil || o.Records[i].Spec.Revision > newest.Spec.Revision {
			newest = &o.Records[i]
		}
	}
	if newest == nil || newest.Spec.Hash == o.Secret.Hash || newest.Spec.NotAfter != nil && !newest.Spec.NotAfter.After(now) {
		return nil
	}
	if now.Sub(newest.CreationTimestamp.Time).Abs() > steps.PublishTimeout {
		return nil
	}
	if current := o.Key.Status.Current; current != nil && current.KeyID == newest.Spec.KeyID {
		return nil // it was published, and has been lost since
	}
	return newest
}

// tryPublish writes the Secret as a dry run, with a key that is then discarded, so that a quota, a webhook, an immutable Secret or a missing right
// costs no revision. The key is a real one, because some webhooks check its form.
func (r *Reconciler) tryPublish(ctx context.Context, seen *observed, step steps.IssueRevision) error {
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err != nil {
		return err
	}
	record, text := steps.NewRecord(seen.Key, step, probe.ID(), ""), []byte(probe.Reveal())
	_, err = r.writeSecret(ctx, seen, &record, text, metav1.DryRunAll)
	if len(seen.publishedText()) > 0 {
		err = r.withoutPluginText(ctx, seen, &record, err)
	}
	return published.AdviseOnImmutable(write.Classify(write.Redact(err, text, seen.publishedText()), v1alpha1.SecretWriteRefusedReason), seen.secret)
}

// tryRecord creates a record as a dry run, with a key that is then discarded. It is for keys whose records something altered before: for every
// revision it would cost a request.
func (r *Reconciler) tryRecord(ctx context.Context, seen *observed, step steps.IssueRevision) error {
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err != nil {
		return err
	}
	record := steps.NewRecord(seen.Key, step, probe.ID(), probe.Hash())
	wanted := record.DeepCopy()
	if err := write.Classify(r.writeRecord(ctx, &record, client.DryRunAll), v1alpha1.RecordWriteRefusedReason); err != nil {
		return err
	}
	return checkWritten(&record, wanted, "created")
}

func (r *Reconciler) writeRecord(ctx context.Context, record *v1alpha1.DGbotAPIKeyRecord, options ...client.CreateOption) error {
	return r.Client.Create(ctx, record, options...)
}

// secretVersion returns the resourceVersion of the observed Secret; empty if there is none.
func (o *observed) secretVersion() string {
	if o.secret == nil {
		return ""
	}
	return o.secret.ResourceVersion
}

// checkWritten returns a rejection if a record is not what was written.
func checkWritten(record, wanted *v1alpha1.DGbotAPIKeyRecord, how string) error {
	if equality.Semantic.DeepEqual(record.Spec, wanted.Spec) && revisions.SupersededBy(record) == revisions.SupersededBy(wanted) &&
		record.Annotations[v1alpha1.AuditAnnotation] == wanted.Annotations[v1alpha1.AuditAnnotation] &&
		record.Annotations[v1alpha1.WithdrawnAtAnnotation] == wanted.Annotations[v1alpha1.WithdrawnAtAnnotation] &&
		standing.Of(record).Owned == standing.Of(wanted).Owned {
		return nil
	}
	return write.Count(alteredRecord(record.Name, how))
}

// alteredRecord is write.Altered for a record, which a policy may alter as well, and which is exempted by its kind.
func alteredRecord(name, how string) *write.RejectedError {
	return &write.RejectedError{Rejection: report.Rejection{Reason: v1alpha1.RecordWriteRefusedReason, Message: fmt.Sprintf(
		"DGbotAPIKeyRecord %q differs from the record that the operator %s: a mutating webhook or policy has changed the write; exempt dgbotapikeyrecords from the webhook or policy", name, how)}}
}

// expireDoubtful expires the records of publications whose outcome was unknown, and which certainly did not happen: the Secret is still the one
// that they were to replace. After a restart no instance knows that, and such a record stays until a revision is published. If it fails,
// nothing waits for it, and the next pass retries.
func (r *Reconciler) expireDoubtful(ctx context.Context, seen *observed) {
	key := client.ObjectKeyFromObject(seen.Key)
	if len(seen.Failed) > 0 {
		return // whether the Secret is the one that was to be replaced may be unknown
	}
	for _, d := range r.memory.takeDoubts(key, r.Clock.Now().Add(-doubtful)) {
		known := seen.recordOf(d.hash)
		if known == nil || d.secretVersion != seen.secretVersion() || lifecycle.EndUnpublished(known, seen.Key).NotAfter.Equal(known.Spec.NotAfter) {
			continue
		}
		if err := r.endUnpublished(ctx, seen, known); err != nil {
			ctrl.LoggerFrom(ctx).Info("Failed to expire the record of a key that no client holds", "record", known.Name, "error", err.Error())
			r.memory.rememberDoubt(key, d)
		}
	}
}

func (r *Reconciler) createRecord(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) error {
	r.memory.rememberRecord(seen.Key)
	rejection := r.writeRecord(ctx, record)
	if !apierrors.IsAlreadyExists(rejection) {
		return write.Classify(rejection, v1alpha1.RecordWriteRefusedReason)
	}
	taken := &v1alpha1.DGbotAPIKeyRecord{ObjectMeta: metav1.ObjectMeta{Namespace: record.Namespace, Name: record.Name}}
	if err := write.ReadExisting(ctx, r.Live, taken, rejection, v1alpha1.RecordWriteRefusedReason); err != nil {
		if seen.unlisted {
			return errNeedsList
		}
		return err
	}
	switch {
	case taken.Spec.Hash == record.Spec.Hash:
		// This instance created it, with a request that was repeated on the way.
		*record = *taken
		return nil
	case taken.Spec.APIKeyRef.UID == seen.Key.UID:
		write.Conflicts.Inc()
		if seen.unlisted {
			return errNeedsList
		}
		return write.ErrYield
	}
	return write.Reject(v1alpha1.RecordConflictReason,
		"DGbotAPIKeyRecord %q already exists and belongs to another DGbotAPIKey (%q, uid %s); delete the DGbotAPIKeyRecord", record.Name, taken.Spec.APIKeyRef.Name, taken.Spec.APIKeyRef.UID)
}

// publish writes the key into the Secret.
func (r *Reconciler) publish(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, key apikey.Key) (*corev1.Secret, error) {
	text := []byte(key.Reveal())
	published, err := r.writeSecret(ctx, seen, record, text)
	err = r.withoutPluginText(ctx, seen, record, err)
	return published, write.Classify(write.Redact(err, text, seen.publishedText()), v1alpha1.SecretWriteRefusedReason)
}

// writeSecret puts the key into the observed Secret, or into a new one if there was none.
func (r *Reconciler) writeSecret(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, text []byte, dryRun ...string) (*corev1.Secret, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: seen.Key.Namespace, Name: lifecycle.SecretName(seen.Key)}}
	if seen.secret != nil {
		secret = seen.secret.DeepCopy()
	}
	dress(secret, seen.Key, record)
	entry := lifecycle.SecretDataKey(seen.Key)
	secret.Data[entry] = text
	err := write.Put(ctx, r.Client, secret, dryRun...)
	if err == nil && !bytes.Equal(secret.Data[entry], text) {
		err = write.Count(published.AlteredEntry(secret.Name, "a key", entry))
	}
	return secret, err
}

// afterRejection finds out what a rejected publication left. The rejection may answer a repetition, by client-go after a Retry-After or by a load
// balancer, of a write that happened: then the key is in the Secret, and expiring its record would end the key in use. If the Secret is as it
// was, the record is expired at once, since no client will hold its key. If the Secret changed, it may have held the key until another
// writer replaced it: the next plan finds out whether the revision was superseded, which starts its overlap, or never was published. If the
// outcome is unknown (see write.IsDefinite), the record expires half a minute later.
func (r *Reconciler) afterRejection(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, rejection error) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	found, err := read.Get(ctx, r.Live, secretNameOf(seen.Key), secret)
	if err != nil {
		return nil, errors.Join(rejection, err)
	}
	hash, before := "", ""
	if found {
		hash = apikey.Hash(secret.Data[lifecycle.SecretDataKey(seen.Key)])
	}
	if seen.secret != nil {
		before = apikey.Hash(seen.secret.Data[lifecycle.SecretDataKey(seen.Key)])
	}
	if hash == record.Spec.Hash {
		return secret, nil
	}
	var conflict *write.ConflictError
	if errors.As(rejection, &conflict) && secret.ResourceVersion == seen.secretVersion() {
		// There was no other writer: the Secret is as it was. A webhook can reject with any code.
		rejection = conflict.Reject()
	}
	if found {
		// The next report describes the Secret as it is now.
		rejection = errors.Join(rejection, r.observeWritten(ctx, seen, secret))
	}
	if hash != before {
		return nil, rejection
	}
	return nil, errors.Join(rejection, r.endUnpublished(ctx, seen, record))
}

// endUnpublished expires the record of a key that no client will hold.
func (r *Reconciler) endUnpublished(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) error {
	err := r.amend(ctx, seen, lifecycle.EndUnpublished(record, seen.Key))
	if errors.Is(err, write.ErrConflict) {
		return nil
	}
	return err
}

// observeWritten makes a Secret that was just written part of the observation.
func (r *Reconciler) observeWritten(ctx context.Context, seen *observed, secret *corev1.Secret) error {
	facts := factsOf(secret, seen.Key)
	r.memory.rememberSecret(seen.Key, facts, r.Clock.Now())
	seen.secret = secret
	r.describeSecret(ctx, seen, facts)
	return nil
}
