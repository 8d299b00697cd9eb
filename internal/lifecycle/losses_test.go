// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// TestWhatIsLostIsNamed: where several things are lost at once, what is left tells which revision was in use, and the
var (
	garbled = revisions.Secret{State: revisions.SecretOwned, Hash: "sha256:garbled"}
	absent  = revisions.Secret{State: revisions.SecretAbsent}
)

// requests that it satisfied are not served again.
func TestWhatIsLostIsNamed(t *testing.T) {
	drop := func(s *Simulation, revision int64) {
		kept := s.Records[:0]
		for _, record := range s.Records {
			if record.Spec.Revision != revision {
				kept = append(kept, record)
			}
		}
		s.Records = kept
	}
	for name, tc := range map[string]struct {
		happen func(*Simulation)
		want   v1alpha1.Cause
	}{
		"the Secret is altered before a status was written": {func(s *Simulation) {
			drop(s, 2)
			s.Records[0].Annotations = nil
			s.Key.Status = v1alpha1.DGbotAPIKeyStatus{}
			s.Key.Spec.Rotation.RequestedAt = nil
			s.Secret = garbled
		}, v1alpha1.CauseSecretAltered},
		"the Secret and the record of its key": {func(s *Simulation) {
			drop(s, 2)
			s.Secret = absent
		}, v1alpha1.CauseSecretLost},
		"the Secret and the record of its key, and the previous one is revoked": {func(s *Simulation) {
			s.rev(1).Spec.State = v1alpha1.StateRevoked
			drop(s, 2)
			s.Secret = absent
		}, v1alpha1.CauseSecretLost},
		"the Secret is altered and all records are gone": {func(s *Simulation) {
			s.Records = nil
			s.Secret = garbled
		}, v1alpha1.CauseSecretAltered},
		"the record of the key in the Secret": {func(s *Simulation) { drop(s, 2) }, v1alpha1.CauseRecordLost},
		"everything but the key": {func(s *Simulation) {
			s.Records = nil
			s.Secret = absent
			s.Key.Status = v1alpha1.DGbotAPIKeyStatus{}
		}, v1alpha1.CauseFirstIssue},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
			s.Key.Spec.Rotation.RequestedAt = at(s.Now.Add(time.Minute))
			advance(t, s, 2*time.Minute)
			if s.rev(2) == nil {
				t.Fatal("there is no revision 2 to lose")
			}
			tc.happen(s)
			steps := settle(t, s)
			if got := issued(steps); got != string(tc.want) {
				t.Errorf("issued for %q, want %q", got, tc.want)
			}
			if tc.want != v1alpha1.CauseFirstIssue && s.rev(3) == nil && s.rev(2) == nil {
				t.Errorf("the number of a revision was used again: %+v", s.Records)
			}
		})
	}
}

// TestLosses_OfADisabledKeyKeepTheNumber: no record and not the Secret show that revision 2 was issued, and the key is enabled later.
func TestLosses_OfADisabledKeyKeepTheNumber(t *testing.T) {
	for name, lost := range map[string]revisions.Secret{"the Secret is altered": garbled, "the Secret is gone": absent} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, rotation(v1alpha1.Rotation{Overlap: of(time.Hour)}))
			s.Key.Spec.Rotation.RequestedAt = at(s.Now.Add(time.Minute))
			advance(t, s, 2*time.Minute)
			s.Key.Spec.State = v1alpha1.StateDisabled
			settle(t, s)
			s.Records, s.Secret = nil, lost
			if got := issued(settle(t, s)); got != "" {
				t.Fatalf("a disabled key got a revision for %q", got)
			}
			advance(t, s, time.Hour)
			s.Key.Spec.State = v1alpha1.StateActive
			settle(t, s)
			if s.rev(3) == nil {
				t.Errorf("the number of a revision was used again: %+v", s.Records)
			}
		})
	}
}
