// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// observed is an observation, with the Secret it was made from where that was read live. The Secret's bytes live no
// longer than the pass.
type observed struct {
	lifecycle.Observation
	// secret is nil where there is none, or where it was not read in this pass.
	secret *corev1.Secret
	// unconfirmed: the Secret is as it was last looked at, and no watch says that it still is. Nothing is written on that.
	unconfirmed bool
	// keyConfirmed: the key says the same after the records were read as before, or was read again.
	keyConfirmed bool
	// unlisted: the records are a snapshot of the cache, see unlisted.go.
	unlisted bool
	// rejections are the API server's answers to changes of records that it has rejected in this pass.
	rejections map[rejectedChange]error
	// failures are the reads behind Observation.Failed.
	failures read.Failures
}

// noteRead makes the outcome of reading a part of the observation a part of it; nil for a read that succeeded.
func (o *observed) noteRead(part report.ReadPart, err error) {
	o.failures.Note(part, err)
	o.Failed = o.failures.Reads
}

// observeCached observes without requests as long as the Secret has not moved; nil where there is no key. It is good
// enough to find that nothing is to be done, and for nothing else.
func (r *Reconciler) observeCached(ctx context.Context, name types.NamespacedName) (*observed, error) {
	key := &v1alpha1.DGbotAPIKey{}
	if found, err := read.Get(ctx, r.Client, name, key); err != nil || !found {
		return nil, err
	}
	reads, cancel, urgent := r.patience(ctx, key)
	defer cancel()
	cached := r.listedBy(r.Client)
	if key.Status.ObservedGeneration <= 0 || urgent {
		// A step is due, and all will be read live in a moment. Reading the Secret twice for every key that is created would be the
		// price of knowing it now, and a Secret that cannot be read would delay a withdrawal twice.
		seen := r.complete(reads, false, key, secretLook{}, cached)
		seen.unconfirmed = true
		return seen, ctx.Err()
	}
	if last := r.recallSecret(reads, key); last != nil {
		seen := r.complete(reads, false, key, secretLook{facts: last.facts}, cached)
		seen.unconfirmed = !r.watchesSecrets()
		return seen, ctx.Err()
	}
	if facts, confirmed := r.recallForeign(reads, key); facts != nil {
		seen := r.complete(reads, false, key, secretLook{facts: facts}, cached)
		seen.unconfirmed = !confirmed
		return seen, ctx.Err()
	}
	return r.complete(reads, false, key, r.readSecret(reads, key), cached), ctx.Err()
}

// observeLive reads the key, the Secret and the records from the API server, in this order: a Secret published after it
// was read fails the compare-and-swap, and a record created after the records were read fails the create. The key may say
// something else by the time the records are read, see confirmKey. The key has to be readable; every other read that fails
// becomes part of the observation. The records are not listed if cached, an observation from the cache that was made before, allows it
// (unlisted.go). It is nil where there is none.
func (r *Reconciler) observeLive(ctx context.Context, name types.NamespacedName, cached *observed) (*observed, error) {
	key := &v1alpha1.DGbotAPIKey{}
	if found, err := read.Get(ctx, r.Live, name, key); err != nil || !found {
		return nil, err
	}
	reads, cancel, _ := r.patience(ctx, key)
	defer cancel()
	look := r.readSecret(reads, key)
	if records, ok := r.snapshot(reads, cached, key, look); ok {
		return r.complete(reads, true, key, look, func(_ context.Context, seen *observed) {
			seen.Records, seen.unlisted = records, true
		}), ctx.Err()
	}
	if cached != nil {
		// Since the key was read, more time has passed than a list takes: what it says might no longer fit to the records.
		return r.observeLive(ctx, name, nil)
	}
	return r.complete(reads, true, key, look, r.listedBy(r.Live)), ctx.Err()
}

// patience returns a context for all reads of an observation beside that of the key, and reports whether it ends soon: where records
// wait to be revoked, disabled or ended, a Secret behind a KMS that does not answer must not delay them. What was not read by then
// counts as unknown.
func (r *Reconciler) patience(ctx context.Context, key *v1alpha1.DGbotAPIKey) (reads context.Context, cancel context.CancelFunc, urgent bool) {
	var records v1alpha1.DGbotAPIKeyRecordList
	err := read.Bounded(ctx, func(ctx context.Context) error { return r.Client.List(ctx, &records, recordsOf(key)...) })
	timeout := read.UrgentTimeout
	switch withdrawal := lifecycle.WithdrawalOf(key, records.Items, r.Clock.Now()); {
	case err != nil || withdrawal == steps.WithdrawNothing:
		reads, cancel = context.WithCancel(ctx)
		return reads, cancel, false
	case withdrawal == steps.WithdrawAfterAttempt:
		timeout = read.AttemptTimeout
	}
	reads, cancel = context.WithTimeout(ctx, timeout)
	return reads, cancel, true
}

// recordsOf selects the records of a key, by uid and not by label: labels can be edited.
func recordsOf(key *v1alpha1.DGbotAPIKey) []client.ListOption {
	return []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{v1alpha1.SelectableAPIKeyUID: string(key.UID)}}
}

// recallSecret returns the last look at the Secret, if the cache says that it has not moved since, or if it is too early
// for another one; nil if the Secret is to be read. One that is not in the cache may still exist: its label may have been
// removed.
func (r *Reconciler) recallSecret(ctx context.Context, key *v1alpha1.DGbotAPIKey) *look {
	last := r.memory.lastLook(client.ObjectKeyFromObject(key))
	if last == nil {
		return nil
	}
	if !r.watchesSecrets() {
		if !last.current(key, r.Clock.Now(), r.SecretCheckInterval) {
			return nil
		}
		return last
	}
	metadata := read.Metadata("Secret")
	found, err := read.Get(ctx, r.Client, secretNameOf(key), metadata)
	if err != nil || !found || last.facts == nil || last.key != key.UID ||
		last.facts.metadata.UID != metadata.UID || last.facts.metadata.ResourceVersion != metadata.ResourceVersion {
		return nil
	}
	return last
}

// secretLook holds the result of reading a Secret. The zero value stands for a Secret that does not exist.
type secretLook struct {
	secret *corev1.Secret
	facts  *secretFacts
	err    error
}

// readSecret reads the Secret live. While it cannot be read, nothing that was seen of it before counts: otherwise a pass that
// remembers would report what a pass that reads could not confirm.
func (r *Reconciler) readSecret(ctx context.Context, key *v1alpha1.DGbotAPIKey) secretLook {
	// The look is as old as its beginning.
	began := r.Clock.Now()
	secret := &corev1.Secret{}
	found := false
	if err := read.Bounded(ctx, func(ctx context.Context) (err error) {
		found, err = read.Get(ctx, r.Live, secretNameOf(key), secret)
		return err
	}); err != nil {
		r.memory.forgetSecret(client.ObjectKeyFromObject(key))
		return secretLook{err: read.Wrap(err, "Secret %q", lifecycle.SecretName(key))}
	}
	if !found {
		secret = nil
	}
	facts := factsOf(secret, key)
	r.memory.rememberSecret(key, facts, began)
	if facts != nil && isForeignTo(key, facts) {
		r.memory.rememberForeign(secretNameOf(key), facts, began)
	} else {
		r.memory.forgetForeign(secretNameOf(key))
	}
	return secretLook{secret: secret, facts: facts}
}

func secretNameOf(key *v1alpha1.DGbotAPIKey) types.NamespacedName {
	return types.NamespacedName{Namespace: key.Namespace, Name: lifecycle.SecretName(key)}
}

// complete adds everything else to what is known of the Secret, read live or from the cache; the last argument adds the records. A read that
// fails is noted in the observation, and so is one for which the context ends too early.
func (r *Reconciler) complete(ctx context.Context, isLive bool, key *v1alpha1.DGbotAPIKey, look secretLook, addRecords func(context.Context, *observed)) *observed {
	reader := client.Reader(r.Client)
	if isLive {
		reader = r.Live
	}
	seen := &observed{Observation: lifecycle.Observation{Key: key}, secret: look.secret}
	if server, ok := r.Clock.(serverClock); ok {
		seen.IsServerTime, seen.IsDisputed = server.Confirmed(), server.Disputed()
	}
	seen.noteRead(report.ReadSecret, look.err)
	addRecords(ctx, seen)
	var unread error
	seen.Tracking, unread = r.tracking(ctx, key.Spec.Environment)
	seen.noteRead(report.ReadChatbot, read.Bounded(ctx, func(ctx context.Context) (err error) {
		seen.Chatbot, err = chatbotOf(ctx, reader, key, seen.Records)
		return err
	}))
	seen.noteRead(report.ReadEnvironment, read.Bounded(ctx, func(ctx context.Context) (err error) {
		seen.Environment, err = r.environmentOf(ctx, reader, key, isLive)
		return err
	}))
	if effective.NeedsTracking(key, seen.Environment.Rules) {
		seen.noteRead(report.ReadTracking, unread)
	}
	if look.err != nil {
		seen.Secret = revisions.Secret{State: revisions.SecretUnknown}
	} else {
		r.describeSecret(ctx, seen, look.facts)
	}
	r.observeVerifiers(ctx, seen)
	return seen
}

// serverClock is a clock that follows the API server's, as that of internal/servertime.
type serverClock interface {
	// Confirmed reports whether it tells the time by which the API server dates records.
	Confirmed() bool
	// Disputed reports whether API servers have disagreed about the time.
	Disputed() bool
}

// listedBy returns a function that adds the records as a reader lists them.
func (r *Reconciler) listedBy(reader client.Reader) func(context.Context, *observed) {
	return func(ctx context.Context, seen *observed) { r.observeRecords(ctx, reader, seen) }
}

// observeRecords lists the records. Where the API server does not list them, those that the cache knows are revoked all the same: what is immutable about a record cannot be out of date.
func (r *Reconciler) observeRecords(ctx context.Context, reader client.Reader, seen *observed) {
	var records v1alpha1.DGbotAPIKeyRecordList
	selection := recordsOf(seen.Key)
	err := read.Bounded(ctx, func(ctx context.Context) error { return reader.List(ctx, &records, selection...) })
	if err != nil {
		// The context may have ended with the read that failed.
		known := read.Bounded(context.WithoutCancel(ctx), func(ctx context.Context) error { return r.Client.List(ctx, &records, selection...) })
		if known != nil {
			records.Items = nil
		}
	}
	seen.Records = records.Items
	seen.noteRead(report.ReadRecords, read.Wrap(err, "the records of DGbotAPIKey %q", seen.Key.Name))
}

// describeSecret puts what is known of the Secret into the observation.
func (r *Reconciler) describeSecret(ctx context.Context, seen *observed, facts *secretFacts) {
	seen.noteRead(report.ReadSecret, nil)
	if facts == nil {
		seen.Secret = revisions.Secret{State: revisions.SecretAbsent}
		return
	}
	state, otherUID := facts.ownership(seen.Key)
	if otherUID != "" {
		lives, err := published.KeyOwner.MayExist(ctx, &r.gone, r.Client, r.Live, &facts.metadata, otherUID)
		switch {
		case err != nil:
			state = revisions.SecretUnknown
			seen.noteRead(report.ReadSecret, read.Wrap(err, "the DGbotAPIKey with uid %s, which Secret %q names as its owner", otherUID, facts.metadata.Name))
		case lives:
			state = revisions.SecretForeign
		}
	}
	seen.Secret = revisions.Secret{State: state, Hash: facts.hash, KeyID: facts.keyID}
	seen.Secret.OtherOwner = state == revisions.SecretCollectable && published.HasOtherOwner(&facts.metadata, otherUID, published.KeyOwner)
	if state != revisions.SecretOwned {
		return
	}
	record := seen.recordOf(facts.hash)
	if seen.secret == nil {
		seen.Secret.Drifted = facts.drifted(seen.Key, record)
		return
	}
	if facts.intactFor = ""; !drifted(seen.secret, seen.Key, record) {
		facts.intactFor = publishedFrom(seen.Key, record)
	}
	seen.Secret.Drifted = facts.intactFor == ""
}

func (o *observed) recordOf(hash string) *v1alpha1.DGbotAPIKeyRecord {
	for i := range o.Records {
		if hash != "" && o.Records[i].Spec.Hash == hash {
			return &o.Records[i]
		}
	}
	return nil
}
