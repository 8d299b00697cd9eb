// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestAdmit_RejectsUnknownStates: a newer version, or a changed CRD, may have written the record.
func TestAdmit_RejectsUnknownStates(t *testing.T) {
	s := newSimulation(t, nil)
	for state, want := range map[v1alpha1.KeyState]Verdict{
		v1alpha1.StateActive: Admitted, v1alpha1.StateDisabled: Disabled, v1alpha1.StateRevoked: Revoked,
		"": UnknownState, "Paused": UnknownState, "active": UnknownState, "Activee": UnknownState,
	} {
		record := s.rev(1).DeepCopy()
		record.Spec.State = state
		if got := Admit(record, s.Now); got != want {
			t.Errorf("state %q: %s, want %s", state, got, want)
		}
		if got := StandingOf(record).verifies(s.Now); got != (want == Admitted || want == Disabled) {
			t.Errorf("state %q: counts as verifying: %t", state, got)
		}
		if got := Admit(record, s.Now).IsFinal(); got != (want == Revoked) {
			t.Errorf("state %q: final: %t", state, got)
		}
	}
}
