// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

func TestWithdrawalOf(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	at := func(after time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(after)} }
	type change func(*v1alpha1.DGbotAPIKey, *v1alpha1.DGbotAPIKeyRecord)
	for name, test := range map[string]struct {
		change change
		want   steps.Withdrawal
	}{
		"an active key":  {func(*v1alpha1.DGbotAPIKey, *v1alpha1.DGbotAPIKeyRecord) {}, steps.WithdrawNothing},
		"a disabled key": {func(k *v1alpha1.DGbotAPIKey, _ *v1alpha1.DGbotAPIKeyRecord) { k.Spec.State = v1alpha1.StateDisabled }, steps.WithdrawNow},
		"a revoked key":  {func(k *v1alpha1.DGbotAPIKey, _ *v1alpha1.DGbotAPIKeyRecord) { k.Spec.State = v1alpha1.StateRevoked }, steps.WithdrawNow},
		"a deleted key":  {func(k *v1alpha1.DGbotAPIKey, _ *v1alpha1.DGbotAPIKeyRecord) { k.DeletionTimestamp = at(0) }, steps.WithdrawNow},
		"a disabled key with a disabled record": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.State, r.Spec.State = v1alpha1.StateDisabled, v1alpha1.StateDisabled
		}, steps.WithdrawNothing},
		"a revoked key with a disabled record": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.State, r.Spec.State = v1alpha1.StateRevoked, v1alpha1.StateDisabled
		}, steps.WithdrawNow},
		"a revoked key with an expired record": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.State, r.Spec.NotAfter = v1alpha1.StateRevoked, at(0)
		}, steps.WithdrawNow},
		"a revoked key with an orphaned record": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.State, r.OwnerReferences = v1alpha1.StateRevoked, nil
		}, steps.WithdrawNothing},
		"a request to revoke": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(0)}
		}, steps.WithdrawAfterAttempt},
		"a request to revoke an earlier revision": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: at(-2 * time.Hour)}
		}, steps.WithdrawNothing},
		"an end for a record without one": {func(k *v1alpha1.DGbotAPIKey, _ *v1alpha1.DGbotAPIKeyRecord) { k.Spec.ExpiresAt = at(time.Hour) }, steps.WithdrawNow},
		"an earlier end": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.ExpiresAt, r.Spec.NotAfter = at(time.Hour), at(2*time.Hour)
		}, steps.WithdrawNow},
		"the same end": {func(k *v1alpha1.DGbotAPIKey, r *v1alpha1.DGbotAPIKeyRecord) {
			k.Spec.ExpiresAt, r.Spec.NotAfter = at(time.Hour), at(time.Hour)
		}, steps.WithdrawNothing},
	} {
		t.Run(name, func(t *testing.T) {
			key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Name: "k", UID: "uid"}}
			record := v1alpha1.DGbotAPIKeyRecord{Spec: v1alpha1.DGbotAPIKeyRecordSpec{
				APIKeyRef: v1alpha1.APIKeyReference{Name: "k", UID: "uid"}, Revision: 1, IssuedAt: *at(-time.Hour), State: v1alpha1.StateActive,
			}}
			record.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: "k", UID: "uid"}}
			test.change(key, &record)
			if got := WithdrawalOf(key, []v1alpha1.DGbotAPIKeyRecord{record}, now); got != test.want {
				t.Errorf("WithdrawalOf is %d, want %d", got, test.want)
			}
		})
	}
}
