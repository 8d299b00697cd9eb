// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"reflect"
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// TestPlan_AbsentFieldsMeanTheirDefaults: a key stored by an earlier version has the defaults written out. Its life is that
// of a key without the fields, step by step, so an upgrade changes nothing.
func TestPlan_AbsentFieldsMeanTheirDefaults(t *testing.T) {
	rotation := func(spec *v1alpha1.DGbotAPIKeySpec, retire v1alpha1.RetirePolicy) {
		spec.Rotation = &v1alpha1.Rotation{Interval: lasts(240 * time.Hour), MaxOverlap: lasts(time.Hour), Retire: retire}
	}
	stored := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) { rotation(spec, v1alpha1.RetireAfterOverlap) })
	absent := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) {
		spec.State = ""
		rotation(spec, "")
	})
	setState := func(state v1alpha1.KeyState) func(*Simulation, bool) {
		return func(s *Simulation, isStored bool) {
			if s.Key.Spec.State = state; state == "" && isStored {
				s.Key.Spec.State = v1alpha1.StateActive
			}
		}
	}
	for _, change := range []func(s *Simulation, isStored bool){
		func(*Simulation, bool) {}, setState(v1alpha1.StateDisabled), setState(""), setState(v1alpha1.StateRevoked), setState(""),
		func(s *Simulation, _ bool) { s.Key.Spec.Rotation.RequestedAt = at(s.Now) },
	} {
		for _, by := range []time.Duration{0, time.Hour, 300 * time.Hour} {
			change(stored, true)
			change(absent, false)
			want, got := advance(t, stored, by), advance(t, absent, by)
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(absent.Records, stored.Records) || !reflect.DeepEqual(absent.Key.Status, stored.Key.Status) {
				t.Fatalf("at %s the fields absent: %+v\nwritten out: %+v", stored.Now, got, want)
			}
		}
	}
	if len(stored.Records) < 4 {
		t.Errorf("only %d revisions were issued: this compares little", len(stored.Records))
	}
}

// TestPlan_RemovingAStoredDefaultWritesNothing: Git applies a key that was stored with defaults by an earlier version.
func TestPlan_RemovingAStoredDefaultWritesNothing(t *testing.T) {
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) {
		spec.Rotation = &v1alpha1.Rotation{Interval: lasts(240 * time.Hour), Retire: v1alpha1.RetireAfterOverlap}
	})
	s.Key.Spec.State, s.Key.Spec.Rotation.Retire = "", ""
	if decision := Plan(s.Observation, s.Now); len(decision.Steps) != 0 || !reflect.DeepEqual(decision.Status, &s.Key.Status) {
		t.Errorf("steps %+v, status %+v", decision.Steps, decision.Status)
	}
}

func TestWindowsOf_AbsentTimeZoneIsUTC(t *testing.T) {
	var asked []string
	rules := &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{Windows: []v1alpha1.RotationWindow{
		{Start: "01:00", End: "02:00"}, {Start: "01:00", End: "02:00", TimeZone: "Europe/Berlin"},
	}}}
	schedule.WindowsOf(rules, func(name string) *time.Location {
		asked = append(asked, name)
		return time.UTC
	})
	if want := []string{"UTC", "Europe/Berlin"}; !reflect.DeepEqual(asked, want) {
		t.Errorf("time zones %q, want %q", asked, want)
	}
}

// TestExemptionOf_LatestCounts: the list is atomic, so the API server does not reject a key that is listed twice.
func TestExemptionOf_LatestCounts(t *testing.T) {
	key := testKey("uid")
	exemption := func(until time.Time) v1alpha1.AuditExemption {
		return v1alpha1.AuditExemption{Name: key.Name, Namespace: key.Namespace, Until: at(until)}
	}
	early, late := exemption(start.Add(day)), exemption(start.Add(3*day))
	for _, listed := range [][]v1alpha1.AuditExemption{{early, late}, {late, early}} {
		got := effective.ExemptionOf(&v1alpha1.EnvironmentAudit{Exemptions: listed}, key.Namespace, key.Name, &instant.Horizon{Now: start})
		if got == nil || !got.Until.Equal(late.Until) {
			t.Errorf("of %v, %v: %v, want the later", listed[0].Until, listed[1].Until, got)
		}
	}
}
