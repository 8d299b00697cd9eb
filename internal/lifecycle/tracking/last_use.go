// SPDX-License-Identifier: Apache-2.0

package tracking

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// maxUseAhead is how far ahead of the operator's clock a use may be dated: a verifier whose clock is wrong must not make a key
// look used until then.
const maxUseAhead = time.Minute

// LastUse returns the last use of a revision as its record tells it; nil where none is known, or where it is dated ahead.
func LastUse(record *revisions.Revision, h *instant.Horizon) *metav1.Time {
	at := record.LastUsedAt
	if at == nil || !h.Reached(at.Add(-maxUseAhead)) {
		return nil
	}
	return at
}

// DefaultResolution is assumed of a use whose report does not say how coarse it is.
const DefaultResolution = 10 * time.Minute

// Resolution returns the step in which the uses of a revision are reported.
func Resolution(record *revisions.Revision) time.Duration {
	if resolution := record.Resolution; resolution != nil {
		return resolution.Duration
	}
	return DefaultResolution
}
