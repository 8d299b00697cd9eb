// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// withoutEnvironment is a new key whose environment has no DGbotEnvironment, with a manager that requires one.
func withoutEnvironment() *Simulation {
	key := testKey("a-uid")
	key.CreationTimestamp = *at(start)
	key.Spec.Scopes = []v1alpha1.Scope{"conversations.read"}
	return &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}, Environment: effective.Environment{Required: true}}, Now: start}
}

// issuedWithoutEnvironment is a key that was issued before its DGbotEnvironment was removed, or before environments were required.
func issuedWithoutEnvironment(t *testing.T, change func(*v1alpha1.DGbotAPIKeySpec)) *Simulation {
	t.Helper()
	s := withoutEnvironment()
	if change != nil {
		change(&s.Key.Spec)
	}
	s.Environment.Required = false
	settle(t, s)
	s.Environment.Required = true
	return s
}

func (s *Simulation) condition(kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(s.Key.Status.Conditions, kind)
}

func TestPlan_FirstIssueWaitsForTheEnvironment(t *testing.T) {
	s := withoutEnvironment()
	s.Environment.Known = []string{"staging", "production-eu", "development"}
	settle(t, s)
	ready, reconciling := s.condition(v1alpha1.ReadyCondition), s.condition(v1alpha1.ReconcilingCondition)
	if len(s.Records) != 0 || ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.EnvironmentUnknownReason ||
		reconciling == nil || reconciling.Reason != v1alpha1.EnvironmentUnknownReason || s.condition(v1alpha1.StalledCondition) != nil {
		t.Fatalf("%d records, conditions %+v", len(s.Records), s.Key.Status.Conditions)
	}
	for _, want := range []string{`"production"`, "development, production-eu, staging", "config/environments", "spec.environment is immutable"} {
		if !strings.Contains(ready.Message, want) {
			t.Errorf("message %q lacks %q", ready.Message, want)
		}
	}
	if wake := Plan(s.Observation, s.Now).Wake; !wake.Equal(start.Add(time.Minute)) {
		t.Errorf("wake is %s, want a minute after the creation", wake)
	}
	advance(t, s, 59*time.Second)
	if s.condition(v1alpha1.StalledCondition) != nil {
		t.Error("Stalled within the first minute")
	}
	advance(t, s, time.Second)
	stalled := s.condition(v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != v1alpha1.EnvironmentUnknownReason || s.condition(v1alpha1.ReconcilingCondition) != nil || len(s.Records) != 0 {
		t.Fatalf("after a minute: %d records, conditions %+v", len(s.Records), s.Key.Status.Conditions)
	}
	if s.condition(v1alpha1.EnvironmentMissingCondition) != nil {
		t.Error("a key that was never issued has the condition EnvironmentMissing")
	}
	s.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{}
	if steps := settle(t, s); issued(steps) != "FirstIssue" || s.condition(v1alpha1.ReadyCondition).Status != metav1.ConditionTrue {
		t.Errorf("with the environment: issued %q, conditions %+v", issued(steps), s.Key.Status.Conditions)
	}
}

func TestPlan_FirstIssueDoesNotWaitLongerForAClockThatIsBehind(t *testing.T) {
	s := withoutEnvironment()
	s.Now = start.Add(-time.Hour)
	settle(t, s)
	if s.condition(v1alpha1.StalledCondition) == nil {
		t.Errorf("an hour before the creation: %+v", s.Key.Status.Conditions)
	}
}

// TestPlan_FirstIssueIsToldFromWhatOnlyTheOperatorWrites: neither a Secret nor a record that was never published makes a new key one
// that was issued; records and status do, each without the other.
func TestPlan_FirstIssueIsToldFromWhatOnlyTheOperatorWrites(t *testing.T) {
	forged := revisions.Secret{State: revisions.SecretOwned, Hash: "sha256:forged", KeyID: "forged"}
	for name, tc := range map[string]struct {
		change func(*Simulation)
		want   string
	}{
		"nothing is there":                  {func(*Simulation) {}, ""},
		"a forged Secret":                   {func(s *Simulation) { s.Secret = forged }, ""},
		"the status alone is lost":          {func(s *Simulation) { s.Key.Status = v1alpha1.DGbotAPIKeyStatus{} }, "nothing"},
		"the records alone are lost":        {func(s *Simulation) { s.Records = nil }, "RecordLost"},
		"records and Secret are lost":       {func(s *Simulation) { s.Records, s.Secret = nil, revisions.Secret{State: revisions.SecretAbsent} }, "SecretLost"},
		"status and Secret are lost":        {func(s *Simulation) { s.Key.Status, s.Secret = v1alpha1.DGbotAPIKeyStatus{}, forged }, "SecretAltered"},
		"records and status are lost":       {func(s *Simulation) { s.Records, s.Key.Status = nil, v1alpha1.DGbotAPIKeyStatus{} }, ""},
		"a record that was never published": {neverPublished, ""},
		"the binding is all that is left": {func(s *Simulation) {
			s.Records, s.Key.Status.Current, s.Secret = nil, nil, revisions.Secret{State: revisions.SecretAbsent}
		}, ""},
		"the key is active after Revoked":    {func(s *Simulation) { revokedAndBack(t, s) }, "Reactivation"},
		"the key was Revoked from the start": {func(s *Simulation) { *s = *withoutEnvironment(); revokedAndBack(t, s) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := issuedWithoutEnvironment(t, nil)
			switch name {
			case "nothing is there", "a forged Secret":
				s = withoutEnvironment()
			}
			tc.change(s)
			s.Now = s.Now.Add(5 * time.Minute)
			steps := settle(t, s)
			waits := s.condition(v1alpha1.StalledCondition) != nil && s.condition(v1alpha1.StalledCondition).Reason == v1alpha1.EnvironmentUnknownReason
			switch missing := s.condition(v1alpha1.EnvironmentMissingCondition) != nil; {
			case tc.want == "" && (issued(steps) != "" || !waits || missing):
				t.Errorf("issued %q, waits %t, EnvironmentMissing %t; want a first issue that waits", issued(steps), waits, missing)
			case tc.want != "" && (issued(steps) != strings.TrimPrefix(tc.want, "nothing") || waits || !missing):
				t.Errorf("issued %q, waits %t, EnvironmentMissing %t; want %s and EnvironmentMissing", issued(steps), waits, missing, tc.want)
			}
		})
	}
}

// neverPublished leaves of an issued key what a crash between record and Secret leaves of a new one.
func neverPublished(s *Simulation) {
	s.Key.Status, s.Secret = v1alpha1.DGbotAPIKeyStatus{}, revisions.Secret{State: revisions.SecretAbsent}
}

func revokedAndBack(t *testing.T, s *Simulation) {
	t.Helper()
	s.Key.Spec.State = v1alpha1.StateRevoked
	settle(t, s)
	s.Key.Spec.State = v1alpha1.StateActive
}

func TestPlan_IssuedKeysGoOnWithoutTheirEnvironment(t *testing.T) {
	s := issuedWithoutEnvironment(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Interval: lasts(10 * day)} })
	if steps := settle(t, s); len(steps) != 0 {
		t.Fatalf("requiring environments takes steps: %+v", steps)
	}
	missing, ready := s.condition(v1alpha1.EnvironmentMissingCondition), s.condition(v1alpha1.ReadyCondition)
	if missing == nil || missing.Reason != v1alpha1.EnvironmentUnknownReason || !strings.Contains(missing.Message, `"production"`) || ready.Status != metav1.ConditionTrue {
		t.Fatalf("conditions %+v", s.Key.Status.Conditions)
	}
	if steps := advance(t, s, 11*day); issued(steps) != "Schedule" {
		t.Errorf("on schedule: %q", issued(steps))
	}
	for _, tc := range []struct {
		want   string
		happen func()
	}{
		{"Request", func() {
			s.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: s.Now.Format(time.RFC3339)}
		}},
		{"Revocation", func() {
			s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: s.Now.Format(time.RFC3339)}
		}},
		{"SecretLost", func() { s.Secret = revisions.Secret{State: revisions.SecretAbsent} }},
		{"SecretAltered", func() { s.Secret = revisions.Secret{State: revisions.SecretOwned, Hash: "sha256:altered"} }},
		{"RecordLost", func() { s.Records = s.Records[:len(s.Records)-1] }},
		{"Reactivation", func() { revokedAndBack(t, s) }},
	} {
		s.Now = s.Now.Add(time.Minute)
		tc.happen()
		steps := settle(t, s)
		if issued(steps) != tc.want || s.condition(v1alpha1.ReadyCondition).Status != metav1.ConditionTrue || s.condition(v1alpha1.EnvironmentMissingCondition) == nil {
			t.Errorf("issued %q, want %s; conditions %+v", issued(steps), tc.want, s.Key.Status.Conditions)
		}
	}
	s.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{}
	if steps := settle(t, s); len(steps) != 0 || s.condition(v1alpha1.EnvironmentMissingCondition) != nil {
		t.Errorf("with the environment: %d steps, conditions %+v", len(steps), s.Key.Status.Conditions)
	}
}

func TestPlan_WithoutTheRequirementTheSpecApplies(t *testing.T) {
	s := withoutEnvironment()
	s.Environment.Required = false
	if steps := settle(t, s); issued(steps) != "FirstIssue" || s.condition(v1alpha1.EnvironmentMissingCondition) != nil {
		t.Fatalf("issued %q, conditions %+v", issued(steps), s.Key.Status.Conditions)
	}
	s.Key.Spec.Scopes = []v1alpha1.Scope{"*"}
	settle(t, s)
	if got := s.rev(1).Spec.Scopes; !reflect.DeepEqual(got, s.Key.Spec.Scopes) {
		t.Errorf("the record has %q", got)
	}
}

// TestPlan_AddsNoScopeWithoutTheEnvironment: the change of a key may arrive before the environment that forbids it.
func TestPlan_AddsNoScopeWithoutTheEnvironment(t *testing.T) {
	s := issuedWithoutEnvironment(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Scopes = []v1alpha1.Scope{"contacts.*", "reports.read"} })
	for _, tc := range []struct{ wanted, want []v1alpha1.Scope }{
		{[]v1alpha1.Scope{"*", "contacts.*", "reports.read"}, []v1alpha1.Scope{"contacts.*", "reports.read"}},
		{[]v1alpha1.Scope{"contacts.*"}, []v1alpha1.Scope{"contacts.*"}},
		{[]v1alpha1.Scope{"contacts.read"}, []v1alpha1.Scope{"contacts.read"}},
		{[]v1alpha1.Scope{"contacts.*", "reports.read"}, []v1alpha1.Scope{}},
	} {
		s.Key.Spec.Scopes = tc.wanted
		settle(t, s)
		if got := s.rev(1).Spec.Scopes; !reflect.DeepEqual(got, tc.want) {
			t.Errorf("spec.scopes %q: the record has %q, want %q", tc.wanted, got, tc.want)
		}
	}
	s.Environment.Rules = &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"contacts.*"}}
	settle(t, s)
	if got := s.rev(1).Spec.Scopes; !reflect.DeepEqual(got, []v1alpha1.Scope{"contacts.*"}) {
		t.Errorf("with the environment the record has %q", got)
	}
}

// TestPlan_LostRecordsGrantNoScope: what the rules withheld is withheld from the revision that replaces a lost record as well.
func TestPlan_LostRecordsGrantNoScope(t *testing.T) {
	for name, tc := range map[string]struct {
		rules *v1alpha1.DGbotEnvironmentSpec
		want  []v1alpha1.Scope
	}{
		"rules":          {&v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"contacts.*"}}, []v1alpha1.Scope{"contacts.read"}},
		"no environment": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := issuedWithoutEnvironment(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Scopes = []v1alpha1.Scope{"contacts.read"} })
			s.Environment.Rules = tc.rules
			s.Key.Spec.Scopes = []v1alpha1.Scope{"*", "contacts.read"}
			settle(t, s)
			s.Records = nil
			s.Now = s.Now.Add(5 * time.Minute)
			if steps := settle(t, s); issued(steps) != "RecordLost" {
				t.Fatalf("issued %q, want RecordLost", issued(steps))
			}
			if got := s.rev(2).Spec.Scopes; !slices.Equal(got, tc.want) {
				t.Errorf("the record has %q, want %q", got, tc.want)
			}
		})
	}
}

func TestEvents_WarnOnceAKeyStallsWithoutItsEnvironment(t *testing.T) {
	s := withoutEnvironment()
	events := func() []report.Event {
		d := Plan(s.Observation, s.Now)
		events := Events(s.Observation, d.Status, s.Now)
		s.Key.Status = *d.Status
		return events
	}
	if got := events(); len(got) != 1 || got[0].Warning || got[0].Reason != v1alpha1.EnvironmentUnknownReason {
		t.Errorf("at first: %+v", got)
	}
	s.Now = s.Now.Add(30 * time.Second)
	if got := events(); len(got) != 0 {
		t.Errorf("meanwhile: %+v", got)
	}
	s.Now = s.Now.Add(30 * time.Second)
	if got := events(); len(got) != 1 || !got[0].Warning || got[0].Reason != v1alpha1.EnvironmentUnknownReason {
		t.Errorf("after a minute: %+v", got)
	}
	s.Environment.Known = []string{"staging"}
	if got := events(); len(got) != 0 {
		t.Errorf("another environment appears: %+v", got)
	}
	s = issuedWithoutEnvironment(t, nil)
	if got := events(); len(got) != 1 || !got[0].Warning || got[0].Action != "Enforce" {
		t.Errorf("an issued key: %+v", got)
	}
}
