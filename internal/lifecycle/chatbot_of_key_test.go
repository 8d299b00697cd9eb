// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

// ofChatbot is an issued key whose chatbot has the ID cb_1.
func ofChatbot(t *testing.T) *Simulation {
	return issuedBy(t, func(s *Simulation) {
		s.Key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"}
		s.Chatbot = effective.Chatbot{ID: "cb_1", Environment: "production"}
	})
}

func issuedBy(t *testing.T, change func(*Simulation)) *Simulation {
	t.Helper()
	s := withoutEnvironment()
	s.Environment.Required = false
	change(s)
	settle(t, s)
	return s
}

// TestPlan_LostRecordsDoNotUnbindAKey: without the records that show the chatbot ID, and without the chatbot, nothing is issued: a key
// without a chatbot ID may be accepted for every chatbot.
func TestPlan_LostRecordsDoNotUnbindAKey(t *testing.T) {
	s := ofChatbot(t)
	s.Chatbot = effective.Chatbot{Missing: true}
	settle(t, s)
	s.losesRecords()
	advance(t, s, time.Minute)
	if len(s.Records) != 0 {
		t.Fatalf("issued %+v", s.Records[0].Spec)
	}
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.WaitingForChatbotReason)
	s.Chatbot = effective.Chatbot{ID: "cb_2", Environment: "production"}
	if steps := settle(t, s); issued(steps) != "RecordLost" || s.Records[0].Spec.ChatbotID != "cb_2" {
		t.Errorf("with the chatbot: issued %q, %+v", issued(steps), s.Records)
	}
}

// TestPlan_RemovesAChatbotIDThatMoved from the records that verify, and from those that follow.
func TestPlan_RemovesAChatbotIDThatMoved(t *testing.T) {
	s := ofChatbot(t)
	s.Chatbot = effective.Chatbot{Missing: true}
	if steps := settle(t, s); len(steps) != 0 || s.rev(1).Spec.ChatbotID != "cb_1" {
		t.Fatalf("without the chatbot: %+v", s.rev(1).Spec)
	}
	s.Chatbot.Moved = []string{"cb_1"}
	settle(t, s)
	advance(t, s, time.Minute)
	s.ask(v1alpha1.RotateRequestedAtAnnotation)
	settle(t, s)
	if a, b := s.rev(1).Spec.ChatbotID, s.rev(2).Spec.ChatbotID; a != "" || b != "" {
		t.Errorf("after another chatbot reserved the ID the records have %q and %q", a, b)
	}
	wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
}

// TestPlan_HoldsAKeyToChatbotsOfItsEnvironment: a chatbot of another environment gives a key no ID.
func TestPlan_HoldsAKeyToChatbotsOfItsEnvironment(t *testing.T) {
	other := effective.Chatbot{ID: "cb_staging", Environment: "staging"}
	s := issuedBy(t, func(s *Simulation) {
		s.Key.Spec.ChatbotRef, s.Chatbot = &v1alpha1.ChatbotReference{Name: "bot"}, other
	})
	if len(s.Records) != 0 {
		t.Fatalf("issued %+v", s.Records[0].Spec)
	}
	wantReady(t, s, metav1.ConditionFalse, v1alpha1.EnvironmentPolicyReason)
	for _, want := range []string{`"staging"`, `"production"`, `"bot"`} {
		if message := s.condition(v1alpha1.ReadyCondition).Message; !strings.Contains(message, want) {
			t.Errorf("message %q lacks %s", message, want)
		}
	}
	s = ofChatbot(t)
	s.Chatbot = other
	settle(t, s)
	violation := s.condition(v1alpha1.PolicyViolationCondition)
	if got := s.rev(1).Spec.ChatbotID; got != "cb_1" || violation == nil || !strings.Contains(violation.Message, `"staging"`) {
		t.Errorf("the record has %q, PolicyViolation is %+v", got, violation)
	}
	wantReady(t, s, metav1.ConditionTrue, v1alpha1.IssuedReason)
}
