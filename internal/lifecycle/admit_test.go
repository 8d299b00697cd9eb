// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// TestAdmit_RejectsUnknownStates: a newer version, or a changed CRD, may have written the record.
func TestAdmit_RejectsUnknownStates(t *testing.T) {
	s := newSimulation(t, nil)
	for state, want := range map[v1alpha1.KeyState]standing.Verdict{
		v1alpha1.StateActive: standing.Admitted, v1alpha1.StateDisabled: standing.Disabled, v1alpha1.StateRevoked: standing.Revoked,
		"": standing.UnknownState, "Paused": standing.UnknownState, "active": standing.UnknownState, "Activee": standing.UnknownState,
	} {
		record := s.rev(1).DeepCopy()
		record.Spec.State = state
		if got := standing.Admit(record, s.Now); got != want {
			t.Errorf("state %q: %s, want %s", state, got, want)
		}
		if got := standing.Of(record).Verifies(s.Now); got != (want == standing.Admitted || want == standing.Disabled) {
			t.Errorf("state %q: counts as verifying: %t", state, got)
		}
		if got := standing.Admit(record, s.Now).IsFinal(); got != (want == standing.Revoked) {
			t.Errorf("state %q: final: %t", state, got)
		}
	}
}
