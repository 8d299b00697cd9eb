// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// snapshot holds all keys, records and Secrets at one time.
type snapshot struct {
	keys    []v1alpha1.DGbotAPIKey
	records map[types.UID][]v1alpha1.DGbotAPIKeyRecord
	secrets map[types.NamespacedName]*corev1.Secret
	strays  []string
}

func look(ctx context.Context, namespaces []string) (*snapshot, error) {
	s := &snapshot{records: map[types.UID][]v1alpha1.DGbotAPIKeyRecord{}, secrets: map[types.NamespacedName]*corev1.Secret{}}
	for _, namespace := range namespaces {
		var keys v1alpha1.DGbotAPIKeyList
		var records v1alpha1.DGbotAPIKeyRecordList
		var secrets corev1.SecretList
		for _, list := range []client.ObjectList{&keys, &records, &secrets} {
			if err := admin.List(ctx, list, client.InNamespace(namespace)); err != nil {
				return nil, err
			}
		}
		s.keys = append(s.keys, keys.Items...)
		there := map[types.UID]bool{}
		for _, key := range keys.Items {
			there[key.UID] = true
		}
		for _, record := range records.Items {
			s.records[record.Spec.APIKeyRef.UID] = append(s.records[record.Spec.APIKeyRef.UID], record)
			if !there[record.Spec.APIKeyRef.UID] {
				s.strays = append(s.strays, record.Namespace+"/"+record.Name)
			}
		}
		for i := range secrets.Items {
			s.secrets[client.ObjectKeyFromObject(&secrets.Items[i])] = &secrets.Items[i]
		}
	}
	return s, nil
}

// unconverged returns what has not converged yet: every key must be as its spec says, and nothing of a deleted key may remain.
func (s *snapshot) unconverged(now time.Time) []string {
	var all []string
	for i := range s.keys {
		if what := s.unconvergedOf(&s.keys[i], now); what != "" {
			all = append(all, s.keys[i].Namespace+"/"+s.keys[i].Name+": "+what)
		}
	}
	for _, stray := range s.strays {
		all = append(all, "record "+stray+" outlives its key")
	}
	return all
}

func (s *snapshot) unconvergedOf(key *v1alpha1.DGbotAPIKey, now time.Time) string {
	ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil || ready.ObservedGeneration != key.Generation {
		return "its status is old"
	}
	if p := key.Status.Propagation; p != nil && p.ConfirmedAt == nil {
		return fmt.Sprintf("the withdrawal of generation %d is not confirmed: %d verifiers, pending %v", p.Generation, p.Verifiers, p.Pending)
	}
	for _, record := range s.records[key.UID] {
		if covers(cutOffs(key), record.Spec.IssuedAt.Time, now) && record.Spec.State != v1alpha1.StateRevoked {
			return fmt.Sprintf("revision %d survives the cut-off", record.Spec.Revision)
		}
	}
	expired := key.Spec.ExpiresAt != nil && !key.Spec.ExpiresAt.After(now)
	switch {
	case key.Spec.State == v1alpha1.StateRevoked:
		return s.stopped(key, ready, v1alpha1.RevokedReason, v1alpha1.StateRevoked)
	case key.Spec.State == v1alpha1.StateDisabled:
		return s.stopped(key, ready, v1alpha1.DisabledReason, v1alpha1.StateDisabled, v1alpha1.StateRevoked)
	case expired:
		return s.stopped(key, ready, v1alpha1.ExpiredReason, v1alpha1.StateActive, v1alpha1.StateRevoked)
	}
	return s.working(key, ready, now)
}

// stopped: not Ready for the reason, and every record in one of the states.
func (s *snapshot) stopped(key *v1alpha1.DGbotAPIKey, ready *metav1.Condition, reason string, states ...v1alpha1.KeyState) string {
	if ready.Status != metav1.ConditionFalse || ready.Reason != reason {
		return fmt.Sprintf("Ready is %s (%s), want False (%s)", ready.Status, ready.Reason, reason)
	}
	for _, record := range s.records[key.UID] {
		fits := false
		for _, state := range states {
			fits = fits || record.Spec.State == state
		}
		if !fits {
			return fmt.Sprintf("revision %d is %s while the key is %s", record.Spec.Revision, record.Spec.State, reason)
		}
	}
	return ""
}

// working: the Secret holds a key that verifies, newer than every request, and the status says so.
func (s *snapshot) working(key *v1alpha1.DGbotAPIKey, ready *metav1.Condition, now time.Time) string {
	secret := s.secrets[types.NamespacedName{Namespace: key.Namespace, Name: key.Name}]
	if secret == nil {
		return fmt.Sprintf("there is no Secret, Ready is %s (%s: %s)", ready.Status, ready.Reason, ready.Message)
	}
	var current *v1alpha1.DGbotAPIKeyRecord
	verifying := 0
	for i, record := range s.records[key.UID] {
		if record.Spec.Hash == apikey.Hash(secret.Data[v1alpha1.DefaultSecretKey]) {
			current = &s.records[key.UID][i]
		}
		if standing.Admit(&record, now) == standing.Admitted {
			verifying++
		}
	}
	switch {
	case ready.Status != metav1.ConditionTrue:
		return fmt.Sprintf("Ready is %s (%s: %s)", ready.Status, ready.Reason, ready.Message)
	case current == nil:
		return "the key in the Secret is in no record"
	case standing.Admit(current, now) != standing.Admitted:
		return "the key in the Secret does not verify"
	case key.Status.Current == nil || key.Status.Current.KeyID != current.Spec.KeyID:
		return "the status names another revision"
	case covers(requests(key), current.Spec.IssuedAt.Time, now) && verifying <= 10:
		return "a request is not served"
	case verifying > 11:
		return fmt.Sprintf("%d revisions verify", verifying)
	case secret.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedBy || string(secret.Data[v1alpha1.SecretEnvironment]) != key.Spec.Environment || !metav1.IsControlledBy(secret, key):
		return "the Secret is not repaired"
	}
	return ""
}
