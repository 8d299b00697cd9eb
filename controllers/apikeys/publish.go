// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"bytes"
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
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
)

// cleanUpTimeout bounds the write that ends an unpublished record: it comes after a deadline of its own.
const cleanUpTimeout = 5 * time.Second

// doubtful is how long a write that was given up may still happen: longer than any API server waits for etcd.
const doubtful = 30 * time.Second

// issue mints a key, creates its record and publishes it. What a crash leaves:
//
//	before the record     nothing
//	before the Secret     a record nobody holds the key of; the cause still stands, and the next pass issues another
//	after the Secret      the key is in use; superseding the earlier revisions is the next plan
//
// All of it has PublishTimeout, and what comes behind it (revoking a leaked key, mostly) waits no longer.
func (r *Reconciler) issue(ctx context.Context, seen *observed, step lifecycle.IssueRevision) error {
	creation := write.Attempt{Object: client.ObjectKeyFromObject(seen.Key), What: creating}
	altered := r.attempts.LastFailure(creation)
	if altered.Within(lifecycle.Backoff(altered.Times-1), r.Clock.Now()) {
		// What alters records may leave a dry run alone, so that passing one would prove nothing.
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
	ctx, cancel := context.WithTimeout(ctx, lifecycle.PublishTimeout)
	defer cancel()
	if err := r.tryPublish(ctx, seen, step); err != nil {
		return err
	}
	if altered.Times > 0 {
		if err := r.tryRecord(ctx, seen, step); err != nil {
			return err
		}
	}
	key, err := apikey.Mint(seen.Key.Spec.Environment)
	if err != nil {
		return err
	}
	record := lifecycle.NewRecord(seen.Key, step, key.ID(), key.Hash())
	wanted := record.DeepCopy()
	if err := r.createRecord(ctx, seen, &record); err != nil {
		return err
	}
	if err := alteredIn(&record, wanted, "created"); err != nil {
		r.attempts.Fail(creation, r.Clock.Now())
		return errors.Join(err, r.endUnpublished(ctx, seen, &record))
	}
	r.attempts.Succeed(creation)
	published, err := r.publish(ctx, seen, &record, key)
	switch {
	case err == nil:
	case write.IsDefinite(err):
		published, err = r.afterRefusal(ctx, seen, &record, err)
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
		write.Event(r.Recorder, seen.Key, lifecycle.LossEvent(seen.Observation, step.Loss))
	}
	seen.Records = append(seen.Records, record)
	return r.adopt(ctx, seen, published)
}

// freshAttempt returns the newest record if it was created so recently that another operator may be about to publish it;
// nil if there is none. Going on at once would be safe, and leave a record of a key that nobody holds. By the clock of the
// API server, compared with ours: where they differ much, there is no waiting, or a second of it too many.
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
	if now.Sub(newest.CreationTimestamp.Time).Abs() > lifecycle.PublishTimeout {
		return nil
	}
	if current := o.Key.Status.Current; current != nil && current.KeyID == newest.Spec.KeyID {
		return nil // it was published, and has been lost since
	}
	return newest
}

// tryPublish asks the API server whether it would take the Secret, with a key that is then forgotten, so that a quota, a
// webhook, an immutable Secret or a missing right costs no revision. It is a real one, because some look at what is written.
func (r *Reconciler) tryPublish(ctx context.Context, seen *observed, step lifecycle.IssueRevision) error {
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err != nil {
		return err
	}
	record, text := lifecycle.NewRecord(seen.Key, step, probe.ID(), ""), []byte(probe.Reveal())
	_, err = r.writeSecret(ctx, seen, &record, text, true)
	if len(seen.publishedText()) > 0 {
		err = r.withoutWords(ctx, seen, &record, err)
	}
	return published.AdviseOnImmutable(write.Classify(write.Redact(err, text, seen.publishedText()), v1alpha1.SecretWriteRefusedReason), seen.secret)
}

// tryRecord asks the API server what it would make of a record, with a key that is then forgotten. Without a reason it is
// not worth a request for each revision: it is for keys whose records something has altered.
func (r *Reconciler) tryRecord(ctx context.Context, seen *observed, step lifecycle.IssueRevision) error {
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err != nil {
		return err
	}
	record := lifecycle.NewRecord(seen.Key, step, probe.ID(), probe.Hash())
	wanted := record.DeepCopy()
	if err := write.Classify(r.writeRecord(ctx, &record, client.DryRunAll), v1alpha1.RecordWriteRefusedReason); err != nil {
		return err
	}
	return alteredIn(&record, wanted, "created")
}

func (r *Reconciler) writeRecord(ctx context.Context, record *v1alpha1.DGbotAPIKeyRecord, options ...client.CreateOption) error {
	return r.Client.Create(ctx, record, options...)
}

// secretVersion is the resourceVersion of the Secret that was observed; empty where there is none.
func (o *observed) secretVersion() string {
	if o.secret == nil {
		return ""
	}
	return o.secret.ResourceVersion
}

// settleDoubts ends the records of publications of which it is certain by now that they did not happen: the Secret is the
// one that they were to replace. Nobody else can know that, so after a restart such a record stays until a revision is
// published. It is tidying up: where it fails, nothing else waits for it, and the next pass tries again.
func (r *Reconciler) settleDoubts(ctx context.Context, seen *observed) {
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
			ctrl.LoggerFrom(ctx).Info("The record of a key that nobody holds does not end yet", "record", known.Name, "error", err.Error())
			r.memory.rememberDoubt(key, d)
		}
	}
}

func (r *Reconciler) createRecord(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) error {
	refusal := r.writeRecord(ctx, record)
	if !apierrors.IsAlreadyExists(refusal) {
		return write.Classify(refusal, v1alpha1.RecordWriteRefusedReason)
	}
	taken := &v1alpha1.DGbotAPIKeyRecord{}
	found, err := read.Get(ctx, r.Live, client.ObjectKeyFromObject(record), taken)
	switch {
	case err != nil:
		return err
	case !found:
		write.Conflicts.Inc()
		return &write.ConflictError{Rejection: lifecycle.Refusal{Reason: v1alpha1.RecordWriteRefusedReason, Message: refusal.Error()}}
	case taken.Spec.Hash == record.Spec.Hash:
		// Our own, created by a request that was repeated on the way.
		*record = *taken
		return nil
	case taken.Spec.APIKeyRef.UID == seen.Key.UID:
		write.Conflicts.Inc()
		return write.ErrYield
	}
	return write.Reject(v1alpha1.RecordConflictReason,
		"Record %q exists and belongs to another key (%s, uid %s): delete it", record.Name, taken.Spec.APIKeyRef.Name, taken.Spec.APIKeyRef.UID)
}

// publish writes the key into the Secret.
func (r *Reconciler) publish(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, key apikey.Key) (*corev1.Secret, error) {
	text := []byte(key.Reveal())
	published, err := r.writeSecret(ctx, seen, record, text, false)
	err = r.withoutWords(ctx, seen, record, err)
	return published, write.Classify(write.Redact(err, text, seen.publishedText()), v1alpha1.SecretWriteRefusedReason)
}

// writeSecret updates the Secret that was observed, with its resourceVersion, or creates it where none was. It never
// falls back from one to the other: the Secret would then be another than the one the plan was made for.
func (r *Reconciler) writeSecret(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, text []byte, dryRun bool) (*corev1.Secret, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: seen.Key.Namespace, Name: lifecycle.SecretName(seen.Key)}}
	create := seen.secret == nil
	if !create {
		secret = seen.secret.DeepCopy()
	}
	dress(secret, seen.Key, record)
	secret.Data[lifecycle.SecretDataKey(seen.Key)] = text
	var err error
	if create {
		var options []client.CreateOption
		if dryRun {
			options = append(options, client.DryRunAll)
		}
		err = r.Client.Create(ctx, secret, options...)
	} else {
		var options []client.UpdateOption
		if dryRun {
			options = append(options, client.DryRunAll)
		}
		err = r.Client.Update(ctx, secret, options...)
	}
	if err == nil && !bytes.Equal(secret.Data[lifecycle.SecretDataKey(seen.Key)], text) {
		err = write.Reject(v1alpha1.SecretWriteRefusedReason,
			"Secret %q does not take a key: something (a mutating webhook?) changes entry %q in the write that publishes it", secret.Name, lifecycle.SecretDataKey(seen.Key))
	}
	return secret, err
}

// afterRefusal finds out what a refused publication left. The refusal may be the answer to a repetition, by client-go after
// a Retry-After or by a load balancer, of a write that has happened: then the key is in the Secret, and ending its record
// would end the key in use. Where the Secret is as it was, whoever minted the key ends the record at once, since nobody will
// ever hold it. Where it has changed, the key may have been in it until somebody replaced it: the next plan knows whether it
// is superseded, which starts its overlap, or never was published. The same goes for an outcome that is not known (see
// definite): whoever looks in half a minute ends that.
func (r *Reconciler) afterRefusal(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, refusal error) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	found, err := read.Get(ctx, r.Live, secretNameOf(seen.Key), secret)
	if err != nil {
		return nil, errors.Join(refusal, err)
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
	var outrun *write.ConflictError
	if errors.As(refusal, &outrun) && secret.ResourceVersion == seen.secretVersion() {
		// Nobody was first: the Secret has not moved. A webhook can refuse with any code.
		write.Rejections.WithLabelValues(outrun.Rejection.Reason).Inc()
		refusal = &write.RejectedError{Rejection: outrun.Rejection}
	}
	if found {
		// What is reported next is to be said of the Secret as it is now.
		refusal = errors.Join(refusal, r.adopt(ctx, seen, secret))
	}
	if hash != before {
		return nil, refusal
	}
	return nil, errors.Join(refusal, r.endUnpublished(ctx, seen, record))
}

// endUnpublished ends the record of a key that nobody will hold.
func (r *Reconciler) endUnpublished(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) error {
	err := r.amend(ctx, seen, lifecycle.EndUnpublished(record, seen.Key))
	if errors.Is(err, write.ErrConflict) {
		return nil
	}
	return err
}

// adopt makes a Secret that was just written part of the observation.
func (r *Reconciler) adopt(ctx context.Context, seen *observed, secret *corev1.Secret) error {
	facts := factsOf(secret, seen.Key)
	r.memory.rememberSecret(seen.Key, facts, r.Clock.Now())
	seen.secret = secret
	r.describeSecret(ctx, seen, facts)
	return nil
}
