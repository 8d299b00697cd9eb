// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// observed is an observation, with the Secret it was made from where that was read live. The Secret's bytes live no
// longer than the pass.
type observed struct {
	lifecycle.Observation
	// secret is nil where there is none, or where it was not read in this pass.
	secret *corev1.Secret
	// unconfirmed: the Secret is as it was last looked at, and no watch says that it still is. Nothing is written on that.
	unconfirmed bool
}

// memory is what a running operator keeps between passes, by key. Losing it costs requests and nothing else.
type memory struct {
	mutex sync.Mutex
	// secrets are the last looks at Secrets, so that their bytes are read only when they have changed, or are due.
	secrets map[types.NamespacedName]look
	// reported are the keys' statuses as they were last written.
	reported map[types.NamespacedName]written
	// undone is when a write was last found to be undone by somebody in the same write.
	undone map[undoing]time.Time
	// doubts are publications whose outcome is not known.
	doubts map[types.NamespacedName][]doubt
	// outruns are how often in a row somebody else was first.
	outruns map[types.NamespacedName]int
	// yields are how often this operator has stepped back for a record that another one may be publishing.
	yields map[types.NamespacedName]yield
}

// undoing is a write of a key that something undoes.
type undoing struct {
	key   types.NamespacedName
	write string
}

const (
	repairing = "repair of the Secret"
	creating  = "creation of a record"
	// amending is followed by the record's name.
	amending = "change of record "
)

// doubt is a publication that may have happened.
type doubt struct {
	// hash is that of the record.
	hash string
	// secretVersion is the resourceVersion of the Secret that was to be replaced; empty where it was to be created.
	secretVersion string
	at            time.Time
}

type yield struct {
	record types.UID
	times  int
}

// written is a write of our own.
type written struct {
	resourceVersion string
	at              time.Time
}

func (m *memory) rememberSecret(key *v1alpha1.DGbotAPIKey, facts *secretFacts, now time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.secrets == nil {
		m.secrets = map[types.NamespacedName]look{}
	}
	m.secrets[client.ObjectKeyFromObject(key)] = look{key: key.UID, facts: facts, at: now}
}

func (m *memory) lastLook(key types.NamespacedName) (look, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	last, ok := m.secrets[key]
	return last, ok
}

func (m *memory) rememberReport(key types.NamespacedName, report written) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.reported == nil {
		m.reported = map[types.NamespacedName]written{}
	}
	m.reported[key] = report
}

// olderThanReport says whether a key was read before this operator last wrote its status, and how long ago that was: the
// cache has yet to catch up, and what it shows as missing has been written and told. Where that takes long, it may be the
// API server that went back, to a backup.
func (m *memory) olderThanReport(key *v1alpha1.DGbotAPIKey, now time.Time) (older bool, since time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	report := m.reported[client.ObjectKeyFromObject(key)]
	order, err := resourceversion.CompareResourceVersion(key.ResourceVersion, report.resourceVersion)
	return err == nil && order < 0, now.Sub(report.at)
}

func (m *memory) rememberUndone(what undoing, at time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.undone == nil {
		m.undone = map[undoing]time.Time{}
	}
	m.undone[what] = at
}

// undoneWithin says whether a write was undone that short a time ago.
func (m *memory) undoneWithin(what undoing, now time.Time, span time.Duration) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	at, ok := m.undone[what]
	return ok && now.Sub(at) < span && !now.Before(at)
}

// everUndone says whether a write was undone, and not found to be left alone since.
func (m *memory) everUndone(what undoing) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	_, ok := m.undone[what]
	return ok
}

func (m *memory) leftAlone(what undoing) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.undone, what)
}

func (m *memory) rememberDoubt(key types.NamespacedName, d doubt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.doubts == nil {
		m.doubts = map[types.NamespacedName][]doubt{}
	}
	m.doubts[key] = append(m.doubts[key], d)
}

// takeDoubts returns the doubts of a key that are older than a time, and forgets them.
func (m *memory) takeDoubts(key types.NamespacedName, before time.Time) (old []doubt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var young []doubt
	for _, d := range m.doubts[key] {
		if d.at.Before(before) {
			old = append(old, d)
		} else {
			young = append(young, d)
		}
	}
	if len(young) == 0 {
		delete(m.doubts, key)
	} else {
		m.doubts[key] = young
	}
	return old
}

// yieldTo says whether to step back for a record once more, and counts it.
func (m *memory) yieldTo(key types.NamespacedName, record types.UID) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.yields == nil {
		m.yields = map[types.NamespacedName]yield{}
	}
	last := m.yields[key]
	if last.record != record {
		last = yield{record: record}
	}
	last.times++
	m.yields[key] = last
	return last.times <= maxYields
}

// countOutrun notes that somebody else was first once more, and returns how often that is in a row.
func (m *memory) countOutrun(key types.NamespacedName) int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.outruns == nil {
		m.outruns = map[types.NamespacedName]int{}
	}
	m.outruns[key]++
	return m.outruns[key]
}

func (m *memory) endOutruns(key types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.outruns, key)
}

func (m *memory) forget(key types.NamespacedName) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.secrets, key)
	delete(m.reported, key)
	delete(m.outruns, key)
	delete(m.doubts, key)
	for what := range m.undone {
		if what.key == key {
			delete(m.undone, what)
		}
	}
	delete(m.yields, key)
}

// observeCached observes without requests as long as the Secret has not moved; nil where there is no key. It is good
// enough to find that nothing is to be done, and for nothing else.
func (r *APIKeyReconciler) observeCached(ctx context.Context, name types.NamespacedName) (*observed, error) {
	key := &v1alpha1.DGbotAPIKey{}
	if found, err := get(ctx, r.Client, name, key); err != nil || !found {
		return nil, err
	}
	if key.Status.ObservedGeneration == 0 {
		// A new key, most likely: a revision is due, and all will be read live in a moment. Reading the Secret twice for
		// every key that is created would be the price of knowing it now.
		seen, err := r.complete(ctx, r.Client, key, nil, nil)
		if err != nil {
			return nil, err
		}
		seen.unconfirmed = true
		return seen, nil
	}
	if last, err := r.recallSecret(ctx, key); err != nil {
		return nil, err
	} else if last != nil {
		seen, err := r.complete(ctx, r.Client, key, nil, last.facts)
		if err != nil {
			return nil, err
		}
		seen.unconfirmed = !r.watchesSecrets()
		return seen, nil
	}
	secret, facts, err := r.readSecret(ctx, key)
	if err != nil {
		return nil, err
	}
	return r.complete(ctx, r.Client, key, secret, facts)
}

// observeLive reads the key, the Secret and the records from the API server, in this order: a Secret published after it
// was read fails the compare-and-swap, and a record created after the records were read fails the create.
func (r *APIKeyReconciler) observeLive(ctx context.Context, name types.NamespacedName) (*observed, error) {
	key := &v1alpha1.DGbotAPIKey{}
	if found, err := get(ctx, r.Live, name, key); err != nil || !found {
		return nil, err
	}
	secret, facts, err := r.readSecret(ctx, key)
	if err != nil {
		return nil, err
	}
	return r.complete(ctx, r.Live, key, secret, facts)
}

// recallSecret returns the last look at the Secret, if the cache says that it has not moved since, or if it is too early
// for another one; nil if the Secret is to be read. One that is not in the cache may still exist: its label may have been
// removed.
func (r *APIKeyReconciler) recallSecret(ctx context.Context, key *v1alpha1.DGbotAPIKey) (*look, error) {
	last, ok := r.memory.lastLook(client.ObjectKeyFromObject(key))
	if !ok {
		return nil, nil
	}
	if !r.watchesSecrets() {
		if !last.current(key, r.Clock.Now(), r.SecretCheckInterval) {
			return nil, nil
		}
		return &last, nil
	}
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	found, err := get(ctx, r.Client, secretNameOf(key), metadata)
	if err != nil || !found || last.facts == nil || last.key != key.UID ||
		last.facts.metadata.UID != metadata.UID || last.facts.metadata.ResourceVersion != metadata.ResourceVersion {
		return nil, err
	}
	return &last, nil
}

func (r *APIKeyReconciler) readSecret(ctx context.Context, key *v1alpha1.DGbotAPIKey) (*corev1.Secret, *secretFacts, error) {
	// The look is as old as its beginning.
	began := r.Clock.Now()
	secret := &corev1.Secret{}
	found, err := get(ctx, r.Live, secretNameOf(key), secret)
	if err != nil {
		return nil, nil, fmt.Errorf("reading Secret %s: %w", secretNameOf(key), err)
	}
	if !found {
		secret = nil
	}
	facts := factsOf(secret, key)
	r.memory.rememberSecret(key, facts, began)
	return secret, facts, nil
}

func secretNameOf(key *v1alpha1.DGbotAPIKey) types.NamespacedName {
	return types.NamespacedName{Namespace: key.Namespace, Name: lifecycle.SecretName(key)}
}

// complete adds the records, found by uid and not by label: labels can be edited.
func (r *APIKeyReconciler) complete(ctx context.Context, reader client.Reader, key *v1alpha1.DGbotAPIKey, secret *corev1.Secret, facts *secretFacts) (*observed, error) {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := reader.List(ctx, &records, client.InNamespace(key.Namespace), client.MatchingFields{v1alpha1.SelectableAPIKeyUID: string(key.UID)}); err != nil {
		return nil, fmt.Errorf("listing the records: %w", err)
	}
	seen := &observed{Observation: lifecycle.Observation{Key: key, Records: records.Items}, secret: secret}
	return seen, r.describeSecret(ctx, seen, facts)
}

// describeSecret puts what is known of the Secret into the observation.
func (r *APIKeyReconciler) describeSecret(ctx context.Context, seen *observed, facts *secretFacts) error {
	if facts == nil {
		seen.Secret = lifecycle.Secret{State: lifecycle.SecretAbsent}
		return nil
	}
	state, otherUID := facts.claim(seen.Key)
	if otherUID != "" {
		exists, err := r.keyExists(ctx, seen.Key.Namespace, otherUID)
		if err != nil {
			return err
		}
		if exists {
			state = lifecycle.SecretForeign
		}
	}
	seen.Secret = lifecycle.Secret{State: state, Hash: facts.hash, KeyID: facts.keyID}
	if state == lifecycle.SecretOwned {
		seen.Secret.Drifted = facts.drifted(seen.Key, seen.recordOf(facts.hash))
	}
	return nil
}

func (o *observed) recordOf(hash string) *v1alpha1.DGbotAPIKeyRecord {
	for i := range o.Records {
		if hash != "" && o.Records[i].Spec.Hash == hash {
			return &o.Records[i]
		}
	}
	return nil
}

// keyExists says whether a key with that uid is in the namespace. That one is, the cache may say: nothing is done then. That
// none is, only the API server may: a key that the cache does not know yet must not lose its Secret.
func (r *APIKeyReconciler) keyExists(ctx context.Context, namespace string, uid types.UID) (bool, error) {
	known := &v1alpha1.DGbotAPIKeyList{}
	if err := r.Client.List(ctx, known, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("looking for the key with uid %s: %w", uid, err)
	}
	if slices.ContainsFunc(known.Items, func(key v1alpha1.DGbotAPIKey) bool { return key.UID == uid }) {
		return true, nil
	}
	there := &metav1.PartialObjectMetadataList{}
	there.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.APIKeyKind + "List"))
	if err := r.Live.List(ctx, there, client.InNamespace(namespace)); err != nil {
		return false, fmt.Errorf("looking for the key with uid %s: %w", uid, err)
	}
	return slices.ContainsFunc(there.Items, func(key metav1.PartialObjectMetadata) bool { return key.UID == uid }), nil
}
