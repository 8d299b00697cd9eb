// SPDX-License-Identifier: Apache-2.0

package status

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
)

func TestWhyWaiting_NamesARequestInTheFuture(t *testing.T) {
	key, now := &v1alpha1.DGbotAPIKey{}, *clitest.At(0)
	key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: clitest.At(time.Hour).UTC().Format(time.RFC3339)}
	key.Status.Conditions = []metav1.Condition{{Type: v1alpha1.RequestPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.RevocationPendingReason, Message: "later"}}
	if got := WhyWaiting(key, now); got != "RevocationPending: later" {
		t.Errorf("why it waits: %q", got)
	}
	key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation] = clitest.At(0).UTC().Format(time.RFC3339)
	if got := WhyWaiting(key, now); got != "waiting for the operator" {
		t.Errorf("with a revocation that replaces the one in the future: %q", got)
	}
}
