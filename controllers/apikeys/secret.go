// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// dress gives a Secret everything that the operator publishes for a revision, except the key itself. What users add
// stays. The result is the same for every operator, so a Secret that differs from it has drifted.
func dress(secret *corev1.Secret, key *v1alpha1.DGbotAPIKey, record *v1alpha1.DGbotAPIKeyRecord) {
	var template *v1alpha1.SecretTemplate
	if key.Spec.Secret != nil {
		template = key.Spec.Secret.Template
	}
	published.Dress(secret, key, published.KeyOwner, template, record.Spec.Revision)
	entries := map[string][]byte{
		v1alpha1.SecretKeyID:       []byte(record.Spec.KeyID),
		v1alpha1.SecretEnvironment: []byte(record.Spec.Environment),
		v1alpha1.SecretType:        []byte(v1alpha1.SecretTypeValue),
		v1alpha1.SecretProvider:    []byte(v1alpha1.SecretProviderValue),
	}
	if record.Spec.ChatbotID != "" {
		entries[v1alpha1.SecretChatbotID] = []byte(record.Spec.ChatbotID)
	}
	published.SetEntries(secret, v1alpha1.APIKeySecretEntries[:], entries)
}

// secretFacts holds what is remembered of a Secret between looks. Its size does not depend on the Secret: a user who may edit Secrets
// could otherwise fill the manager's memory.
type secretFacts struct {
	// metadata is as a cache holds it.
	metadata metav1.ObjectMeta
	hash     string
	keyID    string
	// intactFor is the digest of what the Secret was found to be published from, without drift; empty if it had drifted.
	intactFor string
}

// factsOf takes the facts of a Secret read live; nil stands for "no Secret".
func factsOf(secret *corev1.Secret, key *v1alpha1.DGbotAPIKey) *secretFacts {
	if secret == nil {
		return nil
	}
	facts := &secretFacts{metadata: metav1.ObjectMeta{
		UID: secret.UID, ResourceVersion: secret.ResourceVersion, Name: secret.Name, Namespace: secret.Namespace,
		Labels: caching.Only(secret.Labels, caching.Labels), Annotations: caching.Only(secret.Annotations, caching.Annotations),
		OwnerReferences: caching.StrippedOwners(secret.OwnerReferences),
	}}
	if text, ok := secret.Data[lifecycle.SecretDataKey(key)]; ok {
		facts.hash = apikey.Hash(text)
		if parsed, err := apikey.Parse(string(text)); err == nil && parsed.Environment() == key.Spec.Environment {
			facts.keyID = parsed.ID()
		}
	}
	return facts
}

// drifted reports whether a Secret read live differs from what is published for the record whose key it holds; without such a
// record, whether its owner is missing.
func drifted(secret *corev1.Secret, key *v1alpha1.DGbotAPIKey, record *v1alpha1.DGbotAPIKeyRecord) bool {
	is := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Labels: secret.Labels, Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences},
		Type:       secret.Type, Data: map[string][]byte{},
	}
	for _, name := range v1alpha1.APIKeySecretEntries {
		if value, ok := secret.Data[name]; ok {
			is.Data[name] = value
		}
	}
	want := is.DeepCopy()
	if record == nil {
		published.SetOwner(want, key, v1alpha1.APIKeyKind)
	} else {
		dress(want, key, record)
	}
	return !equality.Semantic.DeepEqual(is, want)
}

// publishedFrom returns a digest of everything that decides what dress does to a Secret, and drifted therefore depends on.
func publishedFrom(key *v1alpha1.DGbotAPIKey, record *v1alpha1.DGbotAPIKeyRecord) string {
	inputs := []any{key.UID, key.Name, nil, nil}
	if record != nil {
		if key.Spec.Secret != nil {
			inputs[2] = caching.Template(key.Spec.Secret.Template) // the same for a key from the cache and one that was read live
		}
		inputs[3] = []any{record.Spec.Revision, record.Spec.KeyID, record.Spec.Environment, record.Spec.ChatbotID}
	}
	text, err := json.Marshal(inputs)
	if err != nil {
		return "" // counts as drift, so that the Secret is read
	}
	sum := sha256.Sum256(text)
	return string(sum[:])
}

// drifted reports whether the Secret has to be looked at again because it had drifted, or is to be published from something else since.
func (f *secretFacts) drifted(key *v1alpha1.DGbotAPIKey, record *v1alpha1.DGbotAPIKeyRecord) bool {
	return f.intactFor == "" || f.intactFor != publishedFrom(key, record)
}

// ownership returns whose the Secret is, as far as its metadata shows.
func (f *secretFacts) ownership(key *v1alpha1.DGbotAPIKey) (state revisions.SecretState, otherUID types.UID) {
	return published.OwnershipOf(&f.metadata, key.UID, published.KeyOwner)
}

// publishedText is what the observed Secret holds in the key's place; nil where there is none.
func (o *observed) publishedText() []byte {
	if o.secret == nil {
		return nil
	}
	return o.secret.Data[lifecycle.SecretDataKey(o.Key)]
}

// withoutPluginText removes the text of an admission plugin from the rejection of a Secret that holds a key in use: there are more ways to write a
// key down than can be masked. The plugin is asked again, with a key that is then discarded and a Secret without a past. If it rejects
// that as well, its text is reported.
func (r *Reconciler) withoutPluginText(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord, err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	before, found := write.SplitAdmissionMessage(status.ErrStatus.Message)
	if !found {
		return err
	}
	answer := metav1.Status{Status: status.ErrStatus.Status, Code: status.ErrStatus.Code, Reason: status.ErrStatus.Reason}
	answer.Message = before + "(the text is omitted, because the webhook or policy has read a key: to see the text, apply a Secret of the same name with another value)"
	if clean := r.askWithoutKey(ctx, seen, record); clean != nil {
		if sameBefore, found := write.SplitAdmissionMessage(clean.ErrStatus.Message); found && sameBefore == before {
			answer.Message = clean.ErrStatus.Message
		}
	}
	return &apierrors.StatusError{ErrStatus: answer}
}

// askWithoutKey returns the rejection of a new Secret that holds nothing worth hiding; nil if it cannot be found out. Admission comes before the
// API server finds that a Secret of the name exists.
func (r *Reconciler) askWithoutKey(ctx context.Context, seen *observed, record *v1alpha1.DGbotAPIKeyRecord) *apierrors.StatusError {
	stranger := *seen
	stranger.secret = nil
	probe, err := apikey.Mint(seen.Key.Spec.Environment)
	if err == nil {
		_, err = r.writeSecret(ctx, &stranger, record, []byte(probe.Reveal()), metav1.DryRunAll)
	}
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status
	}
	return nil
}
