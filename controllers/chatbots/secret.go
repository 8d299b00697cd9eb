// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"bytes"
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// observeHMAC reads the objects of the chatbot's HMAC secret from the API server. The caller must read the chatbot before and after it:
// see observeLive.
func (r *Reconciler) observeHMAC(ctx context.Context, seen *observed) {
	seen.HMAC = chatbots.HMACObservation{}
	seen.secret, seen.replica, seen.stale = nil, nil, nil
	if !wantsHMAC(seen.Chatbot) {
		r.observeStaleReplica(ctx, seen)
		return
	}
	replica := &corev1.Secret{}
	found, err := r.getLive(ctx, reservation.NameOf(seen.ID), replica)
	switch {
	case err != nil:
		r.describeUnknownReplica(ctx, seen)
	case !found:
		seen.describeReplica(nil)
	default:
		seen.describeReplica(replica)
	}
	seen.noteRead(report.ReadReplica, read.Wrap(err, "Secret %s, the replica of the HMAC secret", reservation.NameOf(seen.ID)))
	secret := &corev1.Secret{}
	if found, err = r.getLive(ctx, identitySecretName(seen.Chatbot), secret); err != nil {
		seen.HMAC.Secret = revisions.Secret{State: revisions.SecretUnknown}
		seen.noteRead(report.ReadSecret, read.Wrap(err, "Secret %q", identitySecretName(seen.Chatbot).Name))
	} else {
		if !found {
			secret = nil
		}
		r.describeIdentitySecret(ctx, seen, secret)
	}
	r.observeSource(ctx, seen)
}

// observeStaleReplica finds the replica of a chatbot that wants no HMAC secret. It looks for the replica's metadata in the cache, because
// a chatbot without an HMAC secret must cost no requests. If the chatbot had one until now, the replica may have lost the label by which
// the cache knows it.
func (r *Reconciler) observeStaleReplica(ctx context.Context, seen *observed) {
	replica := read.Metadata("Secret")
	look := r.getCached
	if !chatbots.LedgerOf(&seen.Chatbot.Status).Empty() {
		look = r.getLive
	}
	found, err := look(ctx, reservation.NameOf(seen.ID), replica)
	seen.noteRead(report.ReadReplica, read.Wrap(err, "Secret %s, the replica of the HMAC secret", reservation.NameOf(seen.ID)))
	if err != nil {
		r.describeUnknownReplica(ctx, seen)
		return
	}
	uid := types.UID(replica.Labels[v1alpha1.ChatbotLabel])
	if found && (uid == seen.Chatbot.UID || uid == "" && seen.Reservation == chatbots.ReservationOwned) {
		seen.HMAC.Replica.There, seen.stale = true, replica
	}
}

// describeUnknownReplica describes an unreadable replica: the metadata in the cache suffices to delete it.
func (r *Reconciler) describeUnknownReplica(ctx context.Context, seen *observed) {
	seen.HMAC.Replica = chatbots.Replica{Unknown: true}
	metadata := read.Metadata("Secret")
	found, err := read.Get(ctx, r.Client, reservation.NameOf(seen.ID), metadata)
	if err == nil && found && types.UID(metadata.Labels[v1alpha1.ChatbotLabel]) == seen.Chatbot.UID {
		seen.HMAC.Replica.There, seen.stale = true, metadata
	}
}

// wantsHMAC reports whether a chatbot asks for an HMAC secret.
func wantsHMAC(chatbot *v1alpha1.DGbotChatbot) bool {
	return chatbot.Spec.IdentityVerification != nil && chatbot.DeletionTimestamp.IsZero()
}

func identitySecretName(chatbot *v1alpha1.DGbotChatbot) types.NamespacedName {
	return types.NamespacedName{Namespace: chatbot.Namespace, Name: chatbots.SecretName(chatbot)}
}

// describeIdentitySecret adds the Secret to the observation; nil if it does not exist.
func (r *Reconciler) describeIdentitySecret(ctx context.Context, seen *observed, secret *corev1.Secret) {
	seen.secret, seen.HMAC.Secret, seen.HMAC.PreviousHash = secret, revisions.Secret{State: revisions.SecretAbsent}, ""
	seen.noteRead(report.ReadSecret, nil)
	if secret == nil {
		return
	}
	state, otherUID := published.OwnershipOf(secret, seen.Chatbot.UID, published.ChatbotOwner)
	if otherUID != "" {
		lives, err := published.ChatbotOwner.MayExist(ctx, &r.gone, r.Client, r.Live, secret, otherUID)
		switch {
		case err != nil:
			state = revisions.SecretUnknown
			seen.noteRead(report.ReadSecret, read.Wrap(err, "the DGbotChatbot with uid %s, which Secret %q names as its owner", otherUID, secret.Name))
		case lives:
			state = revisions.SecretForeign
		}
	}
	seen.HMAC.Secret.State = state
	seen.HMAC.Secret.OtherOwner = state == revisions.SecretCollectable && published.HasOtherOwner(secret, otherUID, published.ChatbotOwner)
	if state != revisions.SecretOwned {
		return
	}
	hash := func(entry string) string {
		text, ok := secret.Data[entry]
		if !ok {
			return ""
		}
		sum := identity.Hash(text)
		seen.texts[sum] = text
		return sum
	}
	seen.HMAC.Secret.Hash = hash(v1alpha1.IdentitySecretKey)
	seen.HMAC.PreviousHash = hash(v1alpha1.IdentitySecretKey + v1alpha1.IdentityPreviousSuffix)
	wanted := secret.DeepCopy()
	dressIdentitySecret(wanted, seen, seen.HMAC.Secret.Hash, seen.HMAC.PreviousHash)
	seen.HMAC.Secret.Drifted = !equality.Semantic.DeepEqual(wanted, secret)
}

// dressIdentitySecret gives a Secret all that the operator publishes for two HMAC secrets, which are given by their hashes. Entries that
// users add stay.
func dressIdentitySecret(secret *corev1.Secret, seen *observed, present, previous string) {
	var template *v1alpha1.SecretTemplate
	if iv := seen.Chatbot.Spec.IdentityVerification; iv.Secret != nil {
		template = iv.Secret.Template
	}
	number := int64(0)
	for _, r := range chatbots.LedgerOf(&seen.Chatbot.Status).Revisions() {
		if r.Hash == present {
			number = r.Revision
		}
	}
	published.Dress(secret, seen.Chatbot, published.ChatbotOwner, template, number)
	entries := map[string][]byte{v1alpha1.IdentityChatbotID: []byte(seen.ID)}
	for suffix, hash := range map[string]string{"": present, v1alpha1.IdentityPreviousSuffix: previous} {
		if text, ok := seen.texts[hash]; ok {
			entries[v1alpha1.IdentitySecretKey+suffix] = text
			entries[v1alpha1.IdentityKID+suffix] = []byte(identity.KID(text))
		}
	}
	published.SetEntries(secret, v1alpha1.IdentitySecretEntries[:], entries)
}

// observeSource reads the Secret that importFrom names. Once there is an HMAC secret, only a hint in a condition depends on it.
func (r *Reconciler) observeSource(ctx context.Context, seen *observed) {
	from := seen.Chatbot.Spec.IdentityVerification.ImportFrom
	if from == nil {
		return
	}
	name := types.NamespacedName{Namespace: seen.Chatbot.Namespace, Name: from.Name}
	source := &corev1.Secret{}
	found, err := r.getLive(ctx, name, source)
	if err != nil {
		if seen.HMAC.Source.Unknown = !chatbots.LedgerOf(&seen.Chatbot.Status).Empty(); !seen.HMAC.Source.Unknown {
			seen.noteRead(report.ReadSource, read.Wrap(err, "Secret %q, which spec.identityVerification.importFrom names", name.Name))
		}
		return
	}
	text, there := source.Data[from.Key]
	switch {
	case !found:
		seen.HMAC.Source.Problem = "the Secret does not exist"
		return
	case !there:
		seen.HMAC.Source.Problem = "the Secret has no such entry"
		return
	}
	seen.HMAC.Source.Hash, seen.source = identity.Hash(text), text
	if err := identity.CheckImported(text); err != nil {
		seen.HMAC.Source.Problem = err.Error()
	}
	if _, err := apikey.Parse(string(bytes.TrimSpace(text))); err == nil {
		// The operator would copy it to a place that verifiers read.
		seen.HMAC.Source.Problem = "the entry is an API key"
	}
}

// writeIdentitySecret publishes a ledger: into the observed Secret, with its resourceVersion, or into a new one if there was none.
func (r *Reconciler) writeIdentitySecret(ctx context.Context, seen *observed, shows chatbots.Ledger) error {
	previous := ""
	if shows.Previous != nil {
		previous = shows.Previous.Hash
	}
	minted := seen.HMAC.Secret.Hash != shows.Current.Hash && seen.Chatbot.Status.Pending != nil && seen.Chatbot.Status.Pending.Hash == shows.Current.Hash
	secret, err := r.putIdentitySecret(ctx, seen, shows.Current.Hash, previous)
	if err != nil {
		return published.AdviseOnImmutable(write.Classify(withoutOwnWords(write.Redact(err, seen.allTexts()...)), v1alpha1.SecretWriteRefusedReason), seen.secret)
	}
	if minted {
		secretsIssued.WithLabelValues(string(shows.Current.Cause)).Inc()
	}
	ctrl.LoggerFrom(ctx).Info("Published an HMAC secret", "revision", shows.Current.Revision, "kid", shows.Current.KID, "secret", secret.Name)
	r.describeIdentitySecret(ctx, seen, secret)
	if seen.HMAC.Secret.Drifted {
		return write.Count(published.AlteredSecret(secret.Name))
	}
	return nil
}

func (r *Reconciler) putIdentitySecret(ctx context.Context, seen *observed, present, previous string, dryRun ...string) (*corev1.Secret, error) {
	name := identitySecretName(seen.Chatbot)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	if seen.secret != nil {
		secret = seen.secret.DeepCopy()
	}
	dressIdentitySecret(secret, seen, present, previous)
	err := write.Put(ctx, r.Client, secret, dryRun...)
	if err == nil && !bytes.Equal(secret.Data[v1alpha1.IdentitySecretKey], seen.texts[present]) {
		err = write.Count(published.AlteredEntry(secret.Name, "an HMAC secret", v1alpha1.IdentitySecretKey))
	}
	return secret, err
}

// trySecret asks the API server whether it would accept the Secret, with an HMAC secret that trySecret then discards. So a quota, a
// webhook, an immutable Secret or a missing right costs no revision.
func (r *Reconciler) trySecret(ctx context.Context, seen *observed) error {
	probe, err := identity.MintSecret()
	if err != nil {
		return err
	}
	hash := identity.Hash(probe)
	seen.texts[hash] = probe
	_, err = r.putIdentitySecret(ctx, seen, hash, "", metav1.DryRunAll)
	delete(seen.texts, hash)
	if seen.secret != nil {
		err = withoutOwnWords(err)
	}
	return published.AdviseOnImmutable(write.Classify(write.Redact(err, append(seen.allTexts(), probe)...), v1alpha1.SecretWriteRefusedReason), seen.secret)
}

// allTexts returns the known HMAC secrets, which no message may contain.
func (seen *observed) allTexts() [][]byte {
	var all [][]byte
	for _, text := range seen.texts {
		all = append(all, text)
	}
	if seen.source != nil {
		all = append(all, seen.source)
	}
	return all
}
