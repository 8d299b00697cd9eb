// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

const (
	annotateKey = `"kubectl annotate dgkey production-server -n support --overwrite keys.dgbot.io/%s=$(date -u +%%FT%%TZ)"`
	asPrinted   = `, as printed by "date -u +%FT%TZ"`
)

func TestPlan_ReportsRequestsInTheFuture(t *testing.T) {
	later := at(start.Add(9 * time.Hour)) // 2026-11-23T19:00:00Z
	text := later.Format(time.RFC3339)
	for name, test := range map[string]struct {
		change          func(*v1alpha1.DGbotAPIKey)
		reason, message string
	}{
		"a revocation in an annotation": {
			func(k *v1alpha1.DGbotAPIKey) {
				k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: text}
			}, v1alpha1.RevocationPendingReason,
			"The revocation that annotation keys.dgbot.io/revoke-issued-before requests is in the future: the operator revokes at 2026-11-23T19:00:00Z, and the request changes nothing before. " +
				"Valid revisions now: 1. To revoke now, run " + fmt.Sprintf(annotateKey, "revoke-issued-before"),
		},
		"a revocation in spec": {
			func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation = &v1alpha1.Rotation{RevokeIssuedBefore: later}
			}, v1alpha1.RevocationPendingReason,
			"The revocation that spec.rotation.revokeIssuedBefore requests is in the future: the operator revokes at 2026-11-23T19:00:00Z, and the request changes nothing before. " +
				"Valid revisions now: 1. To revoke now, set spec.rotation.revokeIssuedBefore to the current time in UTC" + asPrinted,
		},
		"a rotation in an annotation": {
			func(k *v1alpha1.DGbotAPIKey) {
				k.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: text}
			}, v1alpha1.RotationPendingReason,
			"The rotation that annotation keys.dgbot.io/rotate-requested-at requests is in the future: the operator rotates at 2026-11-23T19:00:00Z, and the request changes nothing before. " +
				"Valid revisions now: 1. To rotate now, run " + fmt.Sprintf(annotateKey, "rotate-requested-at"),
		},
		"a rotation in spec": {
			func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: later} }, v1alpha1.RotationPendingReason,
			"The rotation that spec.rotation.requestedAt requests is in the future: the operator rotates at 2026-11-23T19:00:00Z, and the request changes nothing before. " +
				"Valid revisions now: 1. To rotate now, set spec.rotation.requestedAt to the current time in UTC" + asPrinted,
		},
		"a decision of the audit": {
			func(k *v1alpha1.DGbotAPIKey) { k.Annotations = map[string]string{v1alpha1.KeptAtAnnotation: text} }, v1alpha1.KeepPendingReason,
			"The time in annotation keys.dgbot.io/kept-at is in the future: the audit ignores the annotation until 2026-11-23T19:00:00Z. " +
				"Valid revisions now: 1. To keep the key now, run " + fmt.Sprintf(annotateKey, "kept-at"),
		},
		"a disabled key": {
			func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.State = v1alpha1.StateDisabled
				k.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: later}
			}, v1alpha1.RotationPendingReason,
			"The rotation that spec.rotation.requestedAt requests is in the future: the operator rotates at 2026-11-23T19:00:00Z, and the request changes nothing before. " +
				"Valid revisions now: none. To rotate now, set spec.rotation.requestedAt to the current time in UTC" + asPrinted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, nil)
			s.Now = start.Add(time.Hour)
			test.change(s.Key)
			if got := issued(settle(t, s)); got != "" {
				t.Errorf("issued %q", got)
			}
			pending := condition(s, v1alpha1.RequestPendingCondition)
			if pending == nil || pending.Status != metav1.ConditionTrue || pending.Reason != test.reason || pending.Message != test.message {
				t.Errorf("condition %+v, want reason %s, message\n%s", pending, test.reason, test.message)
			}
			if s.Key.Spec.State == v1alpha1.StateActive {
				wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
			}
			s.Now = later.Time
			settle(t, s)
			if got := condition(s, v1alpha1.RequestPendingCondition); got != nil {
				t.Errorf("due, and still pending: %+v", got)
			}
		})
	}
}

func TestPlan_WakesWhenAPendingRequestIsDue(t *testing.T) {
	s := newSimulation(t, nil)
	s.Now = start.Add(time.Hour)
	s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: at(start.Add(2 * time.Hour)).Format(time.RFC3339)}
	settle(t, s)
	if steps := advance(t, s, time.Hour); issued(steps) != "Revocation" || condition(s, v1alpha1.RequestPendingCondition) != nil {
		t.Errorf("issued %q, condition %+v", issued(steps), condition(s, v1alpha1.RequestPendingCondition))
	}
}

// TestPlan_ReportsARevocationBeforeOtherRequests: the reason names the request that matters most, and the message all.
func TestPlan_ReportsARevocationBeforeOtherRequests(t *testing.T) {
	s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) {
		spec.Rotation = &v1alpha1.Rotation{Overlap: of(24 * time.Hour), RequestedAt: at(start.Add(time.Hour))}
	})
	advance(t, s, time.Hour)
	s.Key.Spec.Rotation.RequestedAt = at(start.Add(48 * time.Hour))
	s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: at(start.Add(3 * time.Hour)).Format(time.RFC3339)}
	settle(t, s)
	pending := condition(s, v1alpha1.RequestPendingCondition)
	want := "The revocation that annotation keys.dgbot.io/revoke-issued-before requests is in the future: the operator revokes at 2026-11-23T13:00:00Z, and the request changes nothing before. " +
		"Valid revisions now: 2 and 1. To revoke now, run " + fmt.Sprintf(annotateKey, "revoke-issued-before") +
		". The rotation that spec.rotation.requestedAt requests is in the future: the operator rotates at 2026-11-25T10:00:00Z, and the request changes nothing before. " +
		"Valid revisions now: 2 and 1. To rotate now, set spec.rotation.requestedAt to the current time in UTC" + asPrinted
	if pending == nil || pending.Reason != v1alpha1.RevocationPendingReason || pending.Message != want {
		t.Errorf("condition %+v, want\n%s", pending, want)
	}
}

func TestEvents_WarnOnceOfARevocationInTheFuture(t *testing.T) {
	s := newSimulation(t, nil)
	s.Now = start.Add(time.Hour)
	warnings := func() (notes []string) {
		next := Plan(s.Observation, s.Now).Status
		for _, event := range Events(s.Observation, next, s.Now) {
			if event.Reason == v1alpha1.RequestPendingReason && event.Warning {
				notes = append(notes, event.Note)
			}
		}
		s.Key.Status = *next
		return notes
	}
	s.Key.Spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(start.Add(9 * time.Hour))}
	if got := warnings(); len(got) != 0 {
		t.Errorf("a planned rotation warns: %q", got)
	}
	s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: at(start.Add(8 * time.Hour)).Format(time.RFC3339)}
	if got := warnings(); len(got) != 1 || got[0] != condition(s, v1alpha1.RequestPendingCondition).Message {
		t.Errorf("a revocation in the future warns: %q", got)
	}
	if got := warnings(); len(got) != 0 {
		t.Errorf("warns again: %q", got)
	}
	s.Key.Annotations = nil
	warnings()
	s.Key.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: at(s.Now.Add(time.Second)).Format(time.RFC3339)}
	if got := warnings(); len(got) != 0 {
		t.Errorf("a revocation that is due within a second, because the current revision was issued then, warns: %q", got)
	}
}

// TestPlan_NeverIssuesARevokedOrExpiredKey: a key that Git creates anew keeps its state.
func TestPlan_NeverIssuesARevokedOrExpiredKey(t *testing.T) {
	for reason, change := range map[string]func(*v1alpha1.DGbotAPIKeySpec){
		v1alpha1.RevokedReason: func(spec *v1alpha1.DGbotAPIKeySpec) { spec.State = v1alpha1.StateRevoked },
		v1alpha1.ExpiredReason: func(spec *v1alpha1.DGbotAPIKeySpec) { spec.ExpiresAt = at(start.Add(-time.Hour)) },
	} {
		for name, also := range map[string]func(*v1alpha1.DGbotAPIKeySpec){
			"as it is":    func(*v1alpha1.DGbotAPIKeySpec) {},
			"on schedule": func(spec *v1alpha1.DGbotAPIKeySpec) { spec.Rotation = &v1alpha1.Rotation{Interval: of(time.Hour)} },
			"with requests": func(spec *v1alpha1.DGbotAPIKeySpec) {
				spec.Rotation = &v1alpha1.Rotation{RequestedAt: at(start.Add(-2 * time.Hour)), RevokeIssuedBefore: at(start.Add(-2 * time.Hour))}
			},
			"for a chatbot": func(spec *v1alpha1.DGbotAPIKeySpec) {
				spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "support-bot"}
			},
		} {
			t.Run(reason+" "+name, func(t *testing.T) {
				s := newSimulation(t, func(spec *v1alpha1.DGbotAPIKeySpec) { change(spec); also(spec) })
				wantReady(t, s, metav1.ConditionFalse, reason)
				if stalled := condition(s, v1alpha1.StalledCondition); stalled == nil || stalled.Reason != reason {
					t.Errorf("Stalled is %+v", stalled)
				}
				if steps := advance(t, s, 100*time.Hour); len(steps) != 0 || len(s.Records) != 0 || s.Secret.State != revisions.SecretAbsent {
					t.Errorf("steps %+v, records %+v, Secret %+v", steps, s.Records, s.Secret)
				}
				s.Key.Spec.State, s.Key.Spec.ExpiresAt, s.Key.Spec.ChatbotRef = v1alpha1.StateActive, nil, nil
				if got := issued(settle(t, s)); got != string(v1alpha1.CauseFirstIssue) {
					t.Errorf("issued %q once it may be", got)
				}
			})
		}
	}
}
