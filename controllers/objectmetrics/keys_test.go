// SPDX-License-Identifier: Apache-2.0

package objectmetrics

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestTheEarlierEndCounts: expiresAt was moved later, and the revision that is to have that end is yet to be issued.
func TestTheEarlierEndCounts(t *testing.T) {
	sooner, later := &metav1.Time{Time: time.Unix(1000, 0)}, &metav1.Time{Time: time.Unix(2000, 0)}
	for name, test := range map[string]struct{ spec, current, want *metav1.Time }{
		"no end":                       {nil, nil, nil},
		"the key's":                    {later, nil, later},
		"the revision's":               {nil, sooner, sooner},
		"the revision's is the sooner": {later, sooner, sooner},
		"the key's is the sooner":      {sooner, later, sooner},
	} {
		t.Run(name, func(t *testing.T) {
			key := &v1alpha1.DGbotAPIKey{Spec: v1alpha1.DGbotAPIKeySpec{ExpiresAt: test.spec}}
			if expiration(key) != test.spec {
				t.Error("without a revision the key's end counts")
			}
			key.Status.Current = &v1alpha1.RevisionStatus{NotAfter: test.current}
			if got := expiration(key); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
