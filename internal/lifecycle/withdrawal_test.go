// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// TestPlan_KeepsTheNoteThatNoStatusCovers: a revision was revoked, the operator crashed before it wrote the status, and then the key became Active
// again. The revision that is valid again loses its note; the revoked one keeps it, whatever else changes about its record.
func TestPlan_KeepsTheNoteThatNoStatusCovers(t *testing.T) {
	s := Simulation{Observation: Observation{Key: testKey("a"), Secret: revisions.Secret{State: revisions.SecretAbsent}}, Now: start}
	s.Key.Spec.Rotation = &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: 24 * time.Hour}}
	settle := func() {
		t.Helper()
		if _, err := s.Settle(); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	s.Now = s.Now.Add(time.Minute)
	s.Key.Spec.Rotation.RequestedAt = at(s.Now)
	settle()
	s.Key.Spec.State = v1alpha1.StateDisabled
	settle()
	s.Now = s.Now.Add(time.Minute)
	revoked := &s.Records[0]
	revoked.Spec.State = v1alpha1.StateRevoked
	revoked.Annotations = map[string]string{v1alpha1.WithdrawnAtAnnotation: s.Now.Format(metav1.RFC3339Micro)}
	s.Key.Spec.State = v1alpha1.StateActive

	seen := 0
	for _, step := range Plan(s.Observation, s.Now).Steps {
		change, ok := step.(steps.AmendRecord)
		switch {
		case !ok:
		case change.UID == revoked.UID:
			seen++
			if change.WithdrawnAt != nil {
				t.Errorf("the revoked revision loses its note: %+v", change)
			}
		case change.State == v1alpha1.StateActive:
			seen++
			if change.WithdrawnAt == nil || *change.WithdrawnAt != "" {
				t.Errorf("the revision that is valid again keeps its note: %+v", change)
			}
		}
	}
	if seen != 2 {
		t.Fatalf("%d of 2 records change", seen)
	}
	settle()
	if p := s.Key.Status.Propagation; p == nil || p.WrittenAt.Before(&metav1.MicroTime{Time: s.Now}) {
		t.Errorf("the withdrawal is not reported: %+v", p)
	}
}
