// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"net/http"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestPreviousRevision_IsValidUntilUnused: a client that has not read the new key keeps its key, is named in the condition, and loses
// the key when it has changed to the new one.
func TestPreviousRevision_IsValidUntilUnused(t *testing.T) {
	v := startVerifier(t, "--usage-flush-interval=100ms", "--usage-resolution=1s", "--environment=retiring")
	v.ready()
	p := newPlace(t)
	earlier := p.key("crm", "retiring")
	eventually(t, "uses are tracked", func() bool { return p.status("crm").TrackedSince != nil })
	p.PatchKey("crm", `{"spec": {"rotation": {"retire": "WhenUnused", "overlap": "1s", "quietPeriod": "2s", "maxOverlap": "1h", "requestedAt": "`+
		time.Now().UTC().Format(time.RFC3339)+`"}}}`)
	inUse := func() *metav1.Condition {
		return apimeta.FindStatusCondition(p.status("crm").Conditions, v1alpha1.PreviousRevisionInUseCondition)
	}
	eventually(t, "the consumer that lags is named", func() bool {
		v.becomes("the earlier key", earlier, http.StatusOK)
		condition := inUse()
		return condition != nil && condition.Reason == v1alpha1.RecentlyUsedReason && strings.Contains(condition.Message, "revision 1")
	})
	end := func() time.Time {
		status := p.status("crm")
		if len(status.Previous) == 0 {
			return time.Time{}
		}
		return status.Previous[0].NotAfter.Time
	}
	issued := p.status("crm").Current.IssuedAt
	if hard := issued.Add(time.Hour); !end().Equal(hard) {
		t.Fatalf("in use it ends at %s, want %s", end(), hard)
	}
	first := p.status("crm").LastUsedAt.Time
	eventually(t, "it is used for longer than quietPeriod", func() bool {
		if code, _ := v.verify(earlier); code != http.StatusOK {
			t.Fatalf("a key that is used all the time is answered with %d", code)
		}
		return p.status("crm").LastUsedAt.After(first.Add(8 * time.Second))
	})
	eventually(t, "it expires when no client uses it", func() bool { return end().Before(time.Now().Add(time.Minute)) })
	v.becomes("the earlier key", earlier, http.StatusUnauthorized)
	v.becomes("the key in use", p.KeyText("crm"), http.StatusOK)
	eventually(t, "the condition is removed", func() bool { return inUse() == nil })
}
