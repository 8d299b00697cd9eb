// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

func lasts(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

const day = 24 * time.Hour

// rules are what a key breaks, what is said of it, and what it is held to once it has been issued.
var rules = map[string]struct {
	env  effective.Environment
	key  func(*v1alpha1.DGbotAPIKeySpec)
	says []string
	// held is what becomes of a key that was issued before there were rules.
	held func(t *testing.T, s *Simulation)
}{
	"namespaceSelector": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "crm"}}}, Excluded: true},
		says: []string{`namespace "support"`, "namespaceSelector (team=crm)"},
	},
	"allowedScopes": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"a.*", "b"}}},
		key:  func(k *v1alpha1.DGbotAPIKeySpec) { k.Scopes = []v1alpha1.Scope{"a.b", "b", "b.c"} },
		says: []string{`"b.c"`, `["a.*" "b"]`},
	},
	"maxKeysPerNamespace": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{MaxKeysPerNamespace: new(int32)}, Rank: 3},
		says: []string{"key 3 by age", `"support"`, "maxKeysPerNamespace is 0"},
	},
	"oneKeyPerChatbot": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{OneKeyPerChatbot: true}, ChatbotRank: 2},
		key:  func(k *v1alpha1.DGbotAPIKeySpec) { k.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} },
		says: []string{"key 2 by age", `"bot"`, "allows 1"},
	},
	"minInterval": {
		env: effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{MinInterval: lasts(10 * day)}}},
		key: func(k *v1alpha1.DGbotAPIKeySpec) {
			k.Rotation = &v1alpha1.Rotation{Interval: lasts(day), Overlap: lasts(time.Hour)}
		},
		says: []string{"spec.rotation.interval is 24h0m0s", "minInterval is 240h0m0s"},
		held: func(t *testing.T, s *Simulation) { rotatesWithin(t, s, 9*day, 10*day) },
	},
	"maxInterval": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{MaxInterval: lasts(10 * day)}}},
		key:  func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Interval: lasts(100 * day)} },
		says: []string{"spec.rotation.interval is 2400h0m0s", "maxInterval is 240h0m0s"},
		held: func(t *testing.T, s *Simulation) { rotatesWithin(t, s, 9*day, 10*day) },
	},
	"maxOverlap": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{MaxOverlap: lasts(time.Hour)}}},
		key:  func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Overlap: lasts(3 * time.Hour)} },
		says: []string{"spec.rotation.overlap is 3h0m0s", "maxOverlap is 1h0m0s"},
		held: func(t *testing.T, s *Simulation) { overlaps(t, s, time.Hour) },
	},
	"maxOverlap of what stays in use": {
		env: effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{MaxOverlap: lasts(5 * time.Hour)}}},
		key: func(k *v1alpha1.DGbotAPIKeySpec) {
			k.Rotation = &v1alpha1.Rotation{Overlap: lasts(3 * time.Hour), Retire: v1alpha1.RetireWhenUnused, MaxOverlap: lasts(day)}
		},
		says: []string{"spec.rotation.maxOverlap is 24h0m0s", "maxOverlap is 5h0m0s"},
		held: func(t *testing.T, s *Simulation) { overlaps(t, s, 5*time.Hour) },
	},
	"maxLifetime, and it has no end": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{MaxLifetime: lasts(30 * day)}},
		says: []string{"spec.expiresAt is not set", "maxLifetime is 720h0m0s", "2026-12-23T10:00:00Z"},
		held: revisionsEnd,
	},
	"maxLifetime, and it has a late end": {
		env:  effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{MaxLifetime: lasts(30 * day)}},
		key:  func(k *v1alpha1.DGbotAPIKeySpec) { k.ExpiresAt = at(start.Add(300 * day)) },
		says: []string{"spec.expiresAt is 2027-09-19T10:00:00Z", "maxLifetime is 720h0m0s", "2026-12-23T10:00:00Z"},
		held: revisionsEnd,
	},
}

func rotatesWithin(t *testing.T, s *Simulation, from, until time.Duration) {
	t.Helper()
	next := s.Key.Status.NextRotationAt
	if next == nil || next.Sub(s.Records[0].Spec.IssuedAt.Time) <= from || next.Sub(s.Records[0].Spec.IssuedAt.Time) > until {
		t.Errorf("the next rotation is at %s", next)
	}
}

func overlaps(t *testing.T, s *Simulation, want time.Duration) {
	t.Helper()
	s.Now = s.Now.Add(time.Minute)
	s.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: s.Now.Format(time.RFC3339)}
	settle(t, s)
	if end := s.rev(1).Spec.NotAfter; end == nil || end.Sub(s.rev(2).Spec.IssuedAt.Time) != want {
		t.Errorf("the earlier revision ends at %s", end)
	}
}

// revisionsEnd: what was issued before is left alone, what is issued from now on ends in time, and is replaced before.
func revisionsEnd(t *testing.T, s *Simulation) {
	t.Helper()
	if end := s.rev(1).Spec.NotAfter; (end == nil) != (s.Key.Spec.ExpiresAt == nil) || end != nil && !end.Equal(s.Key.Spec.ExpiresAt) {
		t.Errorf("the revision that was there ends at %s", end)
	}
	advance(t, s, 100*day)
	if n := len(s.Records); n < 4 {
		t.Errorf("%d revisions in 100 days", n)
	}
	for i := range s.Records {
		if r := &s.Records[i].Spec; r.Revision > 1 && (r.NotAfter == nil || r.NotAfter.Sub(r.IssuedAt.Time) > 30*day) {
			t.Errorf("revision %d ends at %s", r.Revision, r.NotAfter)
		}
	}
	if ready := apimeta.FindStatusCondition(s.Key.Status.Conditions, v1alpha1.ReadyCondition); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %s: %s", ready.Reason, ready.Message)
	}
	// A longer limit mints nothing, and ends nothing.
	s.Environment.Rules.MaxLifetime = lasts(60 * day)
	if steps := settle(t, s); issued(steps) != "" {
		t.Errorf("a longer limit issues %s", issued(steps))
	}
	advance(t, s, 29*day)
	if ready := apimeta.FindStatusCondition(s.Key.Status.Conditions, v1alpha1.ReadyCondition); ready.Status != metav1.ConditionTrue {
		t.Errorf("under the longer limit Ready is %s: %s", ready.Reason, ready.Message)
	}
}

// TestAKeyThatBreaksARuleIsNotIssued, and is as soon as it no longer does.
func TestAKeyThatBreaksARuleIsNotIssued(t *testing.T) {
	for name, tc := range rules {
		t.Run(name, func(t *testing.T) {
			key := testKey("a-uid")
			key.CreationTimestamp = *at(start)
			if tc.key != nil {
				tc.key(&key.Spec)
			}
			spec := key.Spec.DeepCopy()
			s := &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}, Environment: tc.env, Chatbot: effective.Chatbot{ID: "cb_1"}}, Now: start}
			if steps := settle(t, s); len(steps) != 0 {
				t.Fatalf("%+v", steps)
			}
			for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.StalledCondition} {
				c := apimeta.FindStatusCondition(key.Status.Conditions, kind)
				if c == nil || c.Reason != v1alpha1.EnvironmentPolicyReason {
					t.Fatalf("%s: %+v", kind, c)
				}
				for _, want := range append(tc.says, `environment "production": `) {
					if !strings.Contains(c.Message, want) {
						t.Errorf("%q does not say %q", c.Message, want)
					}
				}
			}
			if !reflect.DeepEqual(&key.Spec, spec) {
				t.Error("the key's spec was changed")
			}
			s.Environment = effective.Environment{}
			if steps := settle(t, s); issued(steps) != "FirstIssue" {
				t.Errorf("without rules: %s", issued(steps))
			}
		})
	}
}

// TestAKeyThatWasIssuedGoesOn, held to the nearest permitted value.
func TestAKeyThatWasIssuedGoesOn(t *testing.T) {
	for name, tc := range rules {
		t.Run(name, func(t *testing.T) {
			key := testKey("a-uid")
			key.CreationTimestamp = *at(start)
			if tc.key != nil {
				tc.key(&key.Spec)
			}
			s := &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}, Chatbot: effective.Chatbot{ID: "cb_1"}}, Now: start}
			settle(t, s)
			s.Environment = tc.env
			if tc.env.Rules.MaxLifetime != nil {
				rule := *tc.env.Rules
				s.Environment.Rules = &rule
			}
			if steps := settle(t, s); issued(steps) != "" {
				t.Fatalf("the rules issue %s", issued(steps))
			}
			violation := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.PolicyViolationCondition)
			ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
			if violation == nil || !strings.Contains(violation.Message, tc.says[0]) || ready.Status != metav1.ConditionTrue {
				t.Fatalf("PolicyViolation is %+v, Ready %+v", violation, ready)
			}
			if tc.held != nil {
				tc.held(t, s)
			}
			// Healing and revocation are untouched.
			s.Secret = revisions.Secret{State: revisions.SecretAbsent}
			if steps := settle(t, s); issued(steps) != "SecretLost" {
				t.Errorf("a lost Secret: %s", issued(steps))
			}
			s.Now = s.Now.Add(time.Minute)
			s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: s.Now.Format(time.RFC3339)}
			if steps := settle(t, s); issued(steps) != "Revocation" {
				t.Errorf("a revocation: %s", issued(steps))
			}
			s.Environment = effective.Environment{}
			settle(t, s)
			if apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.PolicyViolationCondition) != nil {
				t.Error("it is said to break rules that are gone")
			}
		})
	}
}

func TestDefaultsOfAnEnvironmentAreNoViolation(t *testing.T) {
	env := effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{
		DefaultInterval: lasts(10 * day), DefaultOverlap: lasts(2 * time.Hour), MinInterval: lasts(day), MaxInterval: lasts(20 * day), MaxOverlap: lasts(3 * time.Hour),
	}}}
	for name, tc := range map[string]struct {
		change      func(*v1alpha1.DGbotAPIKeySpec)
		rules       func(*v1alpha1.EnvironmentRotation)
		from, until time.Duration
		overlap     time.Duration
	}{
		"nothing is said":     {nil, nil, 9 * day, 10 * day, 2 * time.Hour},
		"an interval is said": {func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Interval: lasts(2 * day)} }, nil, 43 * time.Hour, 2 * day, 2 * time.Hour},
		"an overlap is said":  {func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Overlap: lasts(0)} }, nil, 9 * day, 10 * day, 0},
		"without a default":   {nil, func(r *v1alpha1.EnvironmentRotation) { r.DefaultInterval, r.DefaultOverlap = nil, nil }, 18 * day, 20 * day, 3 * time.Hour},
		"an overlap that is longer than the interval that is filled in": {
			func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Overlap: lasts(11 * day)} },
			func(r *v1alpha1.EnvironmentRotation) { r.MaxOverlap = nil }, 9 * day, 10 * day, 5 * day},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, tc.change)
			rotation := *env.Rules.Rotation
			if tc.rules != nil {
				tc.rules(&rotation)
			}
			s.Environment = effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{Rotation: &rotation}}
			settle(t, s)
			if c := apimeta.FindStatusCondition(s.Key.Status.Conditions, v1alpha1.PolicyViolationCondition); c != nil {
				t.Errorf("%s", c.Message)
			}
			rotatesWithin(t, s, tc.from, tc.until)
			overlaps(t, s, tc.overlap)
		})
	}
}

// TestScheduledRotationsKeepToWindows for a year; requests and revocations wait for none.
func TestScheduledRotationsKeepToWindows(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	window := schedule.Window{Days: []v1alpha1.Weekday{"Tuesday", "Sunday"}, Start: 2 * 60, End: 4 * 60, Location: berlin}
	s := newSimulation(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Rotation = &v1alpha1.Rotation{Interval: lasts(5 * day)} })
	s.Environment = effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{}, Windows: []schedule.Window{window}}
	settle(t, s)
	last := int64(1)
	for s.Now.Before(start.Add(365 * day)) {
		announced := s.Key.Status.NextRotationAt
		wake := Plan(s.Observation, s.Now).Wake
		steps := advance(t, s, wake.Sub(s.Now))
		if issued(steps) == "" {
			continue
		}
		last++
		local := s.rev(last).Spec.IssuedAt.In(berlin)
		if minutes := local.Hour()*60 + local.Minute(); issued(steps) != "Schedule" || minutes < 120 || minutes >= 240 || local.Weekday() != time.Tuesday && local.Weekday() != time.Sunday {
			t.Errorf("%s at %s", issued(steps), local)
		}
		if announced == nil || !announced.Equal(&s.rev(last).Spec.IssuedAt) {
			t.Errorf("rotated at %s, and announced was %s", s.rev(last).Spec.IssuedAt, announced)
		}
	}
	if last < 50 {
		t.Errorf("%d rotations in a year", last)
	}
	s.Now = time.Date(2027, 12, 1, 12, 0, 0, 0, time.UTC) // a Wednesday
	settle(t, s)
	s.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: s.Now.Format(time.RFC3339)}
	if steps := settle(t, s); issued(steps) != "Request" {
		t.Errorf("a request outside of the windows: %q", issued(steps))
	}
	s.Environment.Windows[0].Location = nil
	s.Now = s.Now.Add(30 * day)
	if steps := settle(t, s); issued(steps) != "" || s.Key.Status.NextRotationAt != nil {
		t.Errorf("in an unknown time zone: %q, next at %s", issued(steps), s.Key.Status.NextRotationAt)
	}
}

// TestAForgedSecretIsNoRevision: a key that breaks a rule and was never issued is not issued because a user put a key's text into
// a Secret that looks like its own.
func TestAForgedSecretIsNoRevision(t *testing.T) {
	s := &Simulation{Observation: Observation{Key: testKey("a-uid"), Secret: revisions.Secret{State: revisions.SecretOwned, Hash: "sha256:forged", KeyID: "forged"},
		Environment: effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{NamespaceSelector: &metav1.LabelSelector{}}, Excluded: true}}, Now: start}
	if steps := settle(t, s); issued(steps) != "" || len(s.Records) != 0 {
		t.Errorf("%q is issued", issued(steps))
	}
	if apimeta.FindStatusCondition(s.Key.Status.Conditions, v1alpha1.PolicyViolationCondition) != nil {
		t.Error("a key that has nothing is said to go on in spite of the rule")
	}
	if ready := apimeta.FindStatusCondition(s.Key.Status.Conditions, v1alpha1.ReadyCondition); ready.Reason != v1alpha1.EnvironmentPolicyReason {
		t.Errorf("Ready is %s", ready.Reason)
	}
}

// TestScopesThatAreNotAllowedAreNotAdded to a key that has been issued, and those that it has are not taken away.
func TestScopesThatAreNotAllowedAreNotAdded(t *testing.T) {
	s := newSimulation(t, func(k *v1alpha1.DGbotAPIKeySpec) { k.Scopes = []v1alpha1.Scope{"a.read", "odd"} })
	s.Environment = effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{AllowedScopes: []v1alpha1.Scope{"a.*"}}}
	s.Key.Spec.Scopes = []v1alpha1.Scope{"*", "a.write", "odd"}
	settle(t, s)
	want := []v1alpha1.Scope{"a.write", "odd"}
	if got := s.rev(1).Spec.Scopes; !reflect.DeepEqual(got, want) {
		t.Errorf("the record has %q, want %q", got, want)
	}
	s.Now = s.Now.Add(time.Minute)
	s.Key.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: s.Now.Format(time.RFC3339)}
	settle(t, s)
	if got := s.rev(2).Spec.Scopes; !reflect.DeepEqual(got, want) {
		t.Errorf("the next record has %q, want %q", got, want)
	}
}

// TestALifetimeLeavesRoomForTheOverlap, whatever the windows say.
func TestALifetimeLeavesRoomForTheOverlap(t *testing.T) {
	for i := range 50 {
		key := testKey(types.UID(strconv.Itoa(i)))
		key.CreationTimestamp = *at(start)
		key.Spec.Rotation = &v1alpha1.Rotation{Overlap: lasts(10 * time.Hour)}
		s := &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}}, Now: start}
		settle(t, s)
		// It opens for a minute in a week.
		s.Environment = effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{MaxLifetime: lasts(2 * day)},
			Windows: []schedule.Window{{Days: []v1alpha1.Weekday{"Sunday"}, Start: 0, End: 1, Location: time.UTC}}}
		advance(t, s, 20*day)
		for r := range s.Records {
			spec := &s.Records[r].Spec
			next := s.rev(spec.Revision + 1)
			if spec.Revision == 1 || next == nil {
				continue
			}
			if left := spec.IssuedAt.Add(2 * day).Sub(next.Spec.IssuedAt.Time); left < 10*time.Hour {
				t.Errorf("key %d: revision %d is replaced %s before its end", i, spec.Revision, left)
			}
		}
		if ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition); ready.Status != metav1.ConditionTrue {
			t.Errorf("key %d is %s: %s", i, ready.Reason, ready.Message)
		}
	}
}

// TestKeysAreCountedBeforeTheFirstIsIssued: of those of one second the uid decides, and others may still come.
func TestKeysAreCountedBeforeTheFirstIsIssued(t *testing.T) {
	limit := int32(1)
	key := testKey("a-uid")
	key.CreationTimestamp = *at(start)
	s := &Simulation{Observation: Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent},
		Environment: effective.Environment{Rules: &v1alpha1.DGbotEnvironmentSpec{MaxKeysPerNamespace: &limit}, Rank: 1}}, Now: start.Add(time.Second)}
	if steps := settle(t, s); issued(steps) != "" {
		t.Errorf("%s at once", issued(steps))
	}
	if wake := Plan(s.Observation, s.Now).Wake; !wake.Equal(start.Add(effective.CountedAfter)) {
		t.Errorf("woken at %s", wake)
	}
	if steps := advance(t, s, 2*time.Second); issued(steps) != "FirstIssue" {
		t.Errorf("%q afterwards", issued(steps))
	}
}
