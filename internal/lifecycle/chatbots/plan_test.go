// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

func botObservation(claim ClaimState, widget WidgetState) Observation {
	return Observation{
		Chatbot: &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "bot", Generation: 3}},
		ID:      "cb_1", Claim: claim, Holder: "sales/bot", Widget: widget,
	}
}

// TestEveryStateOfAChatbot: what is done, and what is said of it.
func TestEveryStateOfAChatbot(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	for _, claim := range []ClaimState{ClaimAbsent, ClaimOwn, ClaimStale, ClaimTaken} {
		for _, widget := range []WidgetState{WidgetAbsent, WidgetPublished, WidgetDrifted, WidgetCollectable, WidgetForeign} {
			d := Plan(botObservation(claim, widget), now)
			var step Step
			reason, abnormal, wakes := v1alpha1.ProgressingReason, v1alpha1.ReconcilingCondition, false
			switch {
			case claim == ClaimTaken:
				reason, abnormal, wakes = v1alpha1.ChatbotIDConflictReason, v1alpha1.StalledCondition, true
			case claim != ClaimOwn:
				step = ClaimID
			case widget == WidgetForeign:
				reason, abnormal, wakes = v1alpha1.ConfigMapConflictReason, v1alpha1.StalledCondition, true
			case widget == WidgetCollectable:
				reason, wakes = v1alpha1.WaitingForGarbageCollectionReason, true
			case widget == WidgetPublished:
				reason, abnormal = v1alpha1.PublishedReason, ""
			default:
				step = PublishWidget
			}
			if d.Step != step || d.Wake.IsZero() == wakes {
				t.Errorf("%s, %s: step %q, wake %s; want %q", claim, widget, d.Step, d.Wake, step)
			}
			conditions := d.Status.Conditions
			ready := apimeta.FindStatusCondition(conditions, v1alpha1.ReadyCondition)
			if ready.Reason != reason || (ready.Status == metav1.ConditionTrue) != (abnormal == "") || ready.ObservedGeneration != 3 {
				t.Errorf("%s, %s: Ready is %+v", claim, widget, ready)
			}
			if want := min(len(abnormal), 1) + 1; len(conditions) != want || abnormal != "" && !apimeta.IsStatusConditionTrue(conditions, abnormal) {
				t.Errorf("%s, %s: %+v, want %s", claim, widget, conditions, abnormal)
			}
			// An ID is told once it is the chatbot's own, and never before.
			if (d.Status.ChatbotID == "cb_1") != (claim == ClaimOwn) {
				t.Errorf("%s, %s: the status has the ID %q", claim, widget, d.Status.ChatbotID)
			}
		}
	}
}

func TestARefusedChatbotIsTriedLessAndLessOften(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	o := botObservation(ClaimOwn, WidgetAbsent)
	o.Rejection = &report.Rejection{Reason: v1alpha1.ConfigMapWriteRefusedReason, Message: "no"}
	for _, want := range []time.Duration{5 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second} {
		d := Plan(o, now)
		if d.Step != "" || d.Wake.Sub(now) != want {
			t.Errorf("step %q, again after %s, want %s", d.Step, d.Wake.Sub(now), want)
		}
		o.Chatbot.Status, now = *d.Status, d.Wake
	}
}

func TestADeletedChatbotIsLeftAlone(t *testing.T) {
	o := botObservation(ClaimAbsent, WidgetAbsent)
	o.Chatbot.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if d := Plan(o, time.Now()); d.Step != "" || d.Status != nil || !d.Wake.IsZero() {
		t.Errorf("%+v", d)
	}
}

func TestEventsOfAChatbot(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	published := Plan(botObservation(ClaimOwn, WidgetPublished), now).Status
	taken := Plan(botObservation(ClaimTaken, WidgetAbsent), now).Status
	from := func(old *v1alpha1.DGbotChatbotStatus, next *v1alpha1.DGbotChatbotStatus) []report.Event {
		o := botObservation(ClaimOwn, WidgetPublished)
		o.Chatbot.Status = *old
		return Events(o, next, now)
	}
	if events := from(published, published); len(events) != 0 {
		t.Errorf("without a change: %+v", events)
	}
	if events := from(&v1alpha1.DGbotChatbotStatus{}, published); len(events) != 1 || events[0].Warning || events[0].Reason != v1alpha1.PublishedReason {
		t.Errorf("%+v", events)
	}
	if events := from(published, taken); len(events) != 1 || !events[0].Warning || !strings.Contains(events[0].Note, "sales/bot") {
		t.Errorf("%+v", events)
	}
}

// TestAnIDStaysKnownWhileItsClaimIsGone: by what the status says nobody else gets it.
func TestAnIDStaysKnownWhileItsClaimIsGone(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	for claim, want := range map[ClaimState]string{ClaimOwn: "cb_1", ClaimAbsent: "cb_1", ClaimStale: "cb_1", ClaimTaken: ""} {
		o := botObservation(claim, WidgetPublished)
		o.Chatbot.Status.ChatbotID = "cb_1"
		o.Rejection = &report.Rejection{Reason: v1alpha1.ChatbotIDRefusedReason, Message: "the namespace is gone"}
		if got := Plan(o, now).Status.ChatbotID; got != want {
			t.Errorf("%s: %q, want %q", claim, got, want)
		}
		o.Chatbot.Status.ChatbotID = ""
		if got := Plan(o, now).Status.ChatbotID; claim != ClaimOwn && got != "" {
			t.Errorf("%s, and it never had one: %q", claim, got)
		}
	}
}
