// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/changes"
)

// TestAPendingWithdrawalOutlivesItsRecords: the revisions that follow must not remove the last note of a withdrawal that no verifier has
// confirmed yet. Without a note the key would count as Active again.
func TestAPendingWithdrawalOutlivesItsRecords(t *testing.T) {
	s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
	s.Now = s.Now.Add(time.Minute)
	s.Key.Spec.Rotation.RevokeIssuedBefore = at(s.Now)
	settle(t, s)
	was := s.Key.Status.Propagation
	if was == nil || was.ConfirmedAt != nil {
		t.Fatalf("no verifier is registered, and there is %+v", was)
	}
	for i := range changes.KeptEnded + 5 {
		s.Now = s.Now.Add(2 * time.Hour)
		s.Key.Spec.Rotation.RequestedAt = at(s.Now)
		settle(t, s)
		if now := s.Key.Status.Propagation; now == nil || !now.WrittenAt.Equal(&was.WrittenAt) || now.Version != was.Version {
			t.Fatalf("after %d rotations the withdrawal %+v has become %+v", i+1, was, now)
		}
	}
	if n := len(s.Records); n > changes.KeptEnded+3 {
		t.Errorf("%d records", n)
	}
}
