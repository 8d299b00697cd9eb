// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// Unknown is the verdict on a key text that no record has.
const Unknown standing.Verdict = "Unknown"

// NewKey returns a DGbotAPIKey of environment production whose previous revision verifies for one hour, with the changes applied.
func NewKey(namespace, name string, changes ...func(*v1alpha1.DGbotAPIKey)) *v1alpha1.DGbotAPIKey {
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: "Production server", Environment: "production",
			Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}},
		},
	}
	for _, change := range changes {
		if change != nil {
			change(key)
		}
	}
	return key
}

// Readiness returns the condition Ready of a key if it is of the key's present generation; nil otherwise.
func Readiness(key *v1alpha1.DGbotAPIKey) *metav1.Condition {
	condition := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
	if condition == nil || condition.ObservedGeneration != key.Generation {
		return nil
	}
	return condition
}

// IsReady reports whether a key is Ready in its present generation.
func IsReady(key *v1alpha1.DGbotAPIKey) bool {
	condition := Readiness(key)
	return condition != nil && condition.Status == metav1.ConditionTrue
}

// AwaitReady waits until a key is Ready in its present generation.
func AwaitReady(ctx context.Context, reader client.Reader, within time.Duration, namespace, name string) error {
	key := &v1alpha1.DGbotAPIKey{}
	err := wait.PollUntilContextTimeout(ctx, pollInterval, within, true, func(ctx context.Context) (bool, error) {
		err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, key)
		return err == nil && IsReady(key), err
	})
	if err != nil {
		return fmt.Errorf("waiting until key %s/%s is Ready: %w; its condition is %+v", namespace, name, err,
			apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition))
	}
	return nil
}

// ReadSecret returns a Secret, and nil if there is none.
func ReadSecret(ctx context.Context, reader client.Reader, namespace, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return secret, err
}

// ReadRecords returns the records of a key, or of all keys of the namespace if the key's name is empty.
func ReadRecords(ctx context.Context, reader client.Reader, namespace, key string) ([]v1alpha1.DGbotAPIKeyRecord, error) {
	var list v1alpha1.DGbotAPIKeyRecordList
	if err := reader.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var records []v1alpha1.DGbotAPIKeyRecord
	for _, record := range list.Items {
		if key == "" || record.Spec.APIKeyRef.Name == key {
			records = append(records, record)
		}
	}
	return records, nil
}

// RecordOf returns the record with the hash of a key text; nil if there is none.
func RecordOf(records []v1alpha1.DGbotAPIKeyRecord, text string) *v1alpha1.DGbotAPIKeyRecord {
	hash := apikey.Hash([]byte(text))
	for i := range records {
		if records[i].Spec.Hash == hash {
			return &records[i]
		}
	}
	return nil
}

// VerdictOf returns a verifier's verdict on a key whose record is given, which may be nil.
func VerdictOf(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) standing.Verdict {
	if record == nil {
		return Unknown
	}
	return standing.Admit(record, now)
}
