// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestUsesAreCarriedToTheKey(t *testing.T) {
	s := newSimulation(t, nil)
	status := func() *v1alpha1.DGbotAPIKeyStatus { return Plan(s.Observation, s.Now).Status }
	if got := status(); got.LastUsedAt != nil || got.Current.LastUsedAt != nil {
		t.Errorf("a key that was never used: %v, %v", got.LastUsedAt, got.Current.LastUsedAt)
	}
	used := at(s.Now)
	s.rev(1).Status.LastUsedAt = used
	if got := status(); !got.LastUsedAt.Equal(used) || !got.Current.LastUsedAt.Equal(used) {
		t.Errorf("a use of the current revision: %v, %v", got.LastUsedAt, got.Current.LastUsedAt)
	}

	s.Now = s.Now.Add(time.Hour)
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(s.Now)}
	settle(t, s)
	later := at(s.Now.Add(time.Second))
	s.rev(1).Status.LastUsedAt = later
	if got := status(); !got.LastUsedAt.Equal(later) || got.Current.LastUsedAt != nil || !got.Previous[0].LastUsedAt.Equal(later) {
		t.Errorf("a use of the earlier revision: %v, %v, %+v", got.LastUsedAt, got.Current.LastUsedAt, got.Previous)
	}
	s.Now = s.Now.Add(time.Minute)
	settle(t, s)
	s.Records = slices.DeleteFunc(s.Records, func(r v1alpha1.DGbotAPIKeyRecord) bool { return r.Spec.Revision == 1 })
	if got := status(); !got.LastUsedAt.Equal(later) {
		t.Errorf("with the record the last use is forgotten: %v", got.LastUsedAt)
	}
}

func TestAUseThatIsDatedAheadIsNotCarried(t *testing.T) {
	s := newSimulation(t, nil)
	for ahead, carried := range map[time.Duration]bool{time.Minute: true, time.Minute + time.Second: false, 24 * time.Hour: false} {
		s.rev(1).Status.LastUsedAt = at(s.Now.Add(ahead))
		if got := Plan(s.Observation, s.Now).Status; (got.LastUsedAt != nil) != carried || (got.Current.LastUsedAt != nil) != carried {
			t.Errorf("a use dated %s ahead: %v, %v", ahead, got.LastUsedAt, got.Current.LastUsedAt)
		}
	}
}
