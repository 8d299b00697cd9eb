// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t.UTC().Truncate(time.Second)} }

func testKey(uid types.UID) *v1alpha1.DGbotAPIKey {
	return &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Name: "production-server", Namespace: "support", UID: uid, Generation: 1},
		Spec:       v1alpha1.DGbotAPIKeySpec{Label: "Production server", Environment: "production", State: v1alpha1.StateActive},
	}
}
