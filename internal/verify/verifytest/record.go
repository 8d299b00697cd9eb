// SPDX-License-Identifier: Apache-2.0

// Package verifytest holds what tests of several parts of the verifier need: records, replicas, a clock and answers of an API server.
package verifytest

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
)

// Epoch is the time at which records are created.
var Epoch = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// Mint returns a key of the environment staging.
func Mint(t testing.TB) apikey.Key {
	t.Helper()
	key, err := apikey.Mint("staging")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Record returns the record of a key as the operator writes it, with changes. A nil change is none.
func Record(key apikey.Key, change ...func(*v1alpha1.DGbotAPIKeyRecord)) *v1alpha1.DGbotAPIKeyRecord {
	r := &v1alpha1.DGbotAPIKeyRecord{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "support", Name: "crm-3f9c2a1b-r3", UID: "7771c11c-2610-41ab-a832-a339b9abcf1d",
			CreationTimestamp: metav1.Time{Time: Epoch},
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: "crm", UID: "owner"}},
		},
		Spec: v1alpha1.DGbotAPIKeyRecordSpec{
			APIKeyRef: v1alpha1.APIKeyReference{Name: "crm", UID: "owner"}, Revision: 3, KeyID: key.ID(), Hash: key.Hash(),
			Environment: "staging", Label: "CRM", Scopes: []v1alpha1.Scope{"a.b", "c.*"}, State: v1alpha1.StateActive,
		},
	}
	for _, do := range change {
		if do != nil {
			do(r)
		}
	}
	return r
}

// Created returns a change that sets the creation of a record, after Epoch, and its UID.
func Created(after time.Duration, uid types.UID) func(*v1alpha1.DGbotAPIKeyRecord) {
	return func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.CreationTimestamp.Time, r.UID = Epoch.Add(after), uid
	}
}
