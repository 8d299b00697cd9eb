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

func botObservation(reservation ReservationState, widget WidgetState) Observation {
	return Observation{
		Chatbot: &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "bot", Generation: 3}},
		ID:      "cb_1", Reservation: reservation, Holder: "sales/bot", Widget: widget,
	}
}

// TestEveryStateOfAChatbot: what is done, and what is said of it.
func TestEveryStateOfAChatbot(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	for _, reservation := range []ReservationState{ReservationAbsent, ReservationOwned, ReservationStale, ReservationTaken} {
		for _, widget := range []WidgetState{WidgetAbsent, WidgetPublished, WidgetDrifted, WidgetCollectable, WidgetForeign} {
			d := Plan(botObservation(reservation, widget), now)
			var step Step
			reason, abnormal, wakes := v1alpha1.ProgressingReason, v1alpha1.ReconcilingCondition, false
			switch {
			case reservation == ReservationTaken:
				reason, abnormal, wakes = v1alpha1.ChatbotIDConflictReason, v1alpha1.StalledCondition, true
			case reservation != ReservationOwned:
				step = ReserveID
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
				t.Errorf("%s, %s: step %q, wake %s; want %q", reservation, widget, d.Step, d.Wake, step)
			}
			conditions := d.Status.Conditions
			ready := apimeta.FindStatusCondition(conditions, v1alpha1.ReadyCondition)
			if ready.Reason != reason || (ready.Status == metav1.ConditionTrue) != (abnormal == "") || ready.ObservedGeneration != 3 {
				t.Errorf("%s, %s: Ready is %+v", reservation, widget, ready)
			}
			if want := min(len(abnormal), 1) + 1; len(conditions) != want || abnormal != "" && !apimeta.IsStatusConditionTrue(conditions, abnormal) {
				t.Errorf("%s, %s: %+v, want %s", reservation, widget, conditions, abnormal)
			}
			// An ID is reported once it is the chatbot's own, and never before.
			if (d.Status.ChatbotID == "cb_1") != (reservation == ReservationOwned) {
				t.Errorf("%s, %s: the status has the ID %q", reservation, widget, d.Status.ChatbotID)
			}
		}
	}
}

func TestARefusedChatbotIsTriedLessAndLessOften(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	o := botObservation(ReservationOwned, WidgetAbsent)
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
	o := botObservation(ReservationAbsent, WidgetAbsent)
	o.Chatbot.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if d := Plan(o, time.Now()); d.Step != "" || d.Status != nil || !d.Wake.IsZero() {
		t.Errorf("%+v", d)
	}
}

func TestEventsOfAChatbot(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	published := Plan(botObservation(ReservationOwned, WidgetPublished), now).Status
	taken := Plan(botObservation(ReservationTaken, WidgetAbsent), now).Status
	from := func(old *v1alpha1.DGbotChatbotStatus, next *v1alpha1.DGbotChatbotStatus) []report.Event {
		o := botObservation(ReservationOwned, WidgetPublished)
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

// TestAnIDStaysKnownWhileItsClaimIsGone: by what the status says no other chatbot gets it.
func TestAnIDStaysKnownWhileItsClaimIsGone(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	for reservation, want := range map[ReservationState]string{ReservationOwned: "cb_1", ReservationAbsent: "cb_1", ReservationStale: "cb_1", ReservationTaken: ""} {
		o := botObservation(reservation, WidgetPublished)
		o.Chatbot.Status.ChatbotID = "cb_1"
		o.Rejection = &report.Rejection{Reason: v1alpha1.ChatbotIDRefusedReason, Message: "the namespace is gone"}
		if got := Plan(o, now).Status.ChatbotID; got != want {
			t.Errorf("%s: %q, want %q", reservation, got, want)
		}
		o.Chatbot.Status.ChatbotID = ""
		if got := Plan(o, now).Status.ChatbotID; reservation != ReservationOwned && got != "" {
			t.Errorf("%s, and it never had one: %q", reservation, got)
		}
	}
}
