// SPDX-License-Identifier: Apache-2.0

package clitest

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
)

// Day is 24 hours.
const Day = 24 * time.Hour

// Healthy returns a key in namespace support in which an audit finds no risk at Now.
func Healthy(name string) *v1alpha1.DGbotAPIKey {
	k := &v1alpha1.DGbotAPIKey{}
	k.Name, k.Namespace, k.CreationTimestamp = name, "support", *At(-200 * Day)
	k.Spec = v1alpha1.DGbotAPIKeySpec{
		Label: name, Environment: "production", State: v1alpha1.StateActive, Rotation: &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 90 * Day}},
	}
	k.Status = v1alpha1.DGbotAPIKeyStatus{
		Current: &v1alpha1.RevisionStatus{Revision: 3, KeyID: "7Hq2xV0aBcD9", IssuedAt: *At(-40 * Day)}, LastUsedAt: At(-time.Hour), TrackedSince: At(-40 * Day),
		NextRotationAt: At(50 * Day), Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.IssuedReason}},
	}
	return k
}

// Now is the present time of tests with a fixed clock.
var Now = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

// At returns the time d after Now.
func At(d time.Duration) *metav1.Time { return &metav1.Time{Time: Now.Add(d)} }

// Mint returns the text of a new key.
func Mint(t *testing.T, environment string) string {
	t.Helper()
	key, err := apikey.Mint(environment)
	if err != nil {
		t.Fatal(err)
	}
	return key.Reveal()
}
