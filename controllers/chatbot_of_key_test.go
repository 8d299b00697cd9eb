// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestAKeyFollowsItsChatbot: it waits for one that is not there, has its ID on the record and in the Secret, and loses it with
// the reference.
func TestAKeyFollowsItsChatbot(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	stalled := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.StalledCondition)
	if w.ready().Reason != v1alpha1.WaitingForChatbotReason || stalled != nil || len(w.records()) != 0 || w.secret() != nil {
		t.Fatalf("without a chatbot: %+v, %d records", w.ready(), len(w.records()))
	}
	w.createBot(botName, nil)
	w.rest()
	if w.ready().Reason != v1alpha1.WaitingForChatbotReason {
		t.Fatalf("with one that has no ID: %+v", w.ready())
	}
	w.restBots(live, botName)
	w.rest()
	id := w.bot(botName).Status.ChatbotID
	follows := func(want string) {
		t.Helper()
		entry, there := w.secret().Data[v1alpha1.SecretChatbotID]
		if record := w.published(); record == nil || record.Spec.ChatbotID != want || string(entry) != want || there != (want != "") || w.ready().Reason != v1alpha1.IssuedReason {
			t.Errorf("record %+v, Secret %q, %s; want %q", record, entry, w.ready().Reason, want)
		}
	}
	follows(id)
	// A chatbot that is gone stops nothing.
	w.deleteBot(botName)
	w.advance(time.Minute)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
	w.rest()
	follows(id)
	reconciling := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.ReconcilingCondition)
	if w.published().Spec.Revision != 2 || reconciling == nil || reconciling.Reason != v1alpha1.WaitingForChatbotReason {
		t.Errorf("revision %d, %+v", w.published().Spec.Revision, reconciling)
	}
	w.createBot("other", w.adopting)
	w.restBots(live, "other")
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef.Name = "other" })
	w.rest()
	follows(w.ownID())
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = nil })
	w.rest()
	follows("")
	if n := len(w.records()); n != 2 {
		t.Errorf("%d records: following a chatbot mints nothing", n)
	}
}

// TestReconcile_RemovesAChatbotIDThatAnotherChatbotReserved: the key of the tenant that had the ID does not answer with it any more, in
// no revision.
func TestReconcile_RemovesAChatbotIDThatAnotherChatbotReserved(t *testing.T) {
	w, other := newFixture(t), newFixture(t)
	w.createBot(botName, w.adopting)
	w.restBots(live, botName)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	has := func(want string) {
		t.Helper()
		for _, record := range w.records() {
			if record.Spec.ChatbotID != want {
				t.Errorf("revision %d has chatbot ID %q, want %q", record.Spec.Revision, record.Spec.ChatbotID, want)
			}
		}
		if entry := string(w.secret().Data[v1alpha1.SecretChatbotID]); entry != want {
			t.Errorf("the Secret has chatbot ID %q, want %q", entry, want)
		}
	}
	has(w.ownID())
	w.deleteBot(botName)
	w.restBots(live, botName)
	w.rest()
	has(w.ownID())
	other.createBot("taker", w.adopting)
	other.restBots(live, "taker")
	w.rest()
	has("")
	w.requestRotation()
	w.rest()
	has("")
	if n := len(w.records()); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	// A chatbot of the old name, with an ID of its own, gives the key that one.
	w.createBot(botName, nil)
	w.restBots(live, botName)
	w.rest()
	has(w.bot(botName).Status.ChatbotID)
}

// TestReconcile_RemovesAChatbotIDThatMovedWithinTheNamespace: the ID belongs to another chatbot since, of the same environment.
func TestReconcile_RemovesAChatbotIDThatMovedWithinTheNamespace(t *testing.T) {
	w := newFixture(t)
	w.createBot(botName, w.adopting)
	w.restBots(live, botName)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	issued := w.published().CreationTimestamp
	w.deleteBot(botName)
	w.restBots(live, botName)
	later := func(context.Context) (bool, error) { return time.Since(issued.Time) > time.Second, nil }
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, later); err != nil {
		t.Fatal(err) // creation times are in whole seconds
	}
	w.createBot("taker", w.adopting)
	w.restBots(live, "taker")
	w.rest()
	if id := w.published().Spec.ChatbotID; id != "" {
		t.Errorf("the record has chatbot ID %q, which another chatbot has reserved", id)
	}
}

// TestReconcile_KeepsTheChatbotIDWhereTheNewReferenceGivesNone: a reference to a chatbot that does not exist, or is of another environment,
// does not widen a key to every chatbot.
func TestReconcile_KeepsTheChatbotIDWhereTheNewReferenceGivesNone(t *testing.T) {
	w := newFixture(t)
	w.createBot(botName, nil)
	w.createBot("staging-bot", func(b *v1alpha1.DGbotChatbot) { b.Spec.Environment = "staging" })
	w.restBots(live, botName)
	w.restBots(live, "staging-bot")
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	id := w.published().Spec.ChatbotID
	if id == "" || id != w.bot(botName).Status.ChatbotID {
		t.Fatalf("the record has chatbot ID %q", id)
	}
	for _, name := range []string{"missing", "staging-bot"} {
		w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef.Name = name })
		w.rest()
		w.requestRotation()
		w.rest()
		for _, record := range w.records() {
			if record.Spec.ChatbotID != id {
				t.Errorf("with a reference to %s revision %d has chatbot ID %q, want %q", name, record.Spec.Revision, record.Spec.ChatbotID, id)
			}
		}
	}
}

// TestReconcile_RemovesTheIDOfAChatbotThatIsOfAnotherEnvironmentSince: a chatbot of the same name took the ID, for another environment.
func TestReconcile_RemovesTheIDOfAChatbotThatIsOfAnotherEnvironmentSince(t *testing.T) {
	w := newFixture(t)
	w.createBot(botName, w.adopting)
	w.restBots(live, botName)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	w.deleteBot(botName)
	w.restBots(live, botName)
	w.createBot(botName, func(b *v1alpha1.DGbotChatbot) { w.adopting(b); b.Spec.Environment = "staging" })
	w.restBots(live, botName)
	w.rest()
	w.requestRotation()
	w.rest()
	for _, record := range w.records() {
		if record.Spec.ChatbotID != "" {
			t.Errorf("revision %d of a production key has chatbot ID %q, of a staging chatbot", record.Spec.Revision, record.Spec.ChatbotID)
		}
	}
}

// TestReconcile_IssuesNothingForAChatbotOfAnotherEnvironment, and gives an issued key no ID of one.
func TestReconcile_IssuesNothingForAChatbotOfAnotherEnvironment(t *testing.T) {
	w := newFixture(t)
	w.createBot(botName, func(b *v1alpha1.DGbotChatbot) { b.Spec.Environment = "staging" })
	w.restBots(live, botName)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	if w.ready().Reason != v1alpha1.EnvironmentPolicyReason {
		t.Errorf("Ready is %+v", w.ready())
	}
	nothingIssued(w)
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = nil })
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
	w.rest()
	if id := w.published().Spec.ChatbotID; id != "" || w.condition(v1alpha1.PolicyViolationCondition) == nil || w.ready().Reason != v1alpha1.IssuedReason {
		t.Errorf("the record has chatbot ID %q, conditions %+v", id, w.key().Status.Conditions)
	}
}
