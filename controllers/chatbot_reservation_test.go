// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/reservation"
)

// TestReservation_OfTwoChatbotsAtTheSameInstant: one chatbot gets the ID, and the message of the other names it.
func TestReservation_OfTwoChatbotsAtTheSameInstant(t *testing.T) {
	for range 10 {
		w := newFixture(t)
		names := []string{botName, "other"}
		for _, name := range names {
			w.createBot(name, w.adopting)
		}
		done := make(chan error, len(names))
		for _, name := range names {
			go func() {
				_, err := w.chatbots(live).Reconcile(context.Background(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: name}})
				done <- err
			}()
		}
		for range names {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		w.restBots(live, names...)
		reasons := []string{w.botReason(botName), w.botReason("other")}
		slices.Sort(reasons)
		if !slices.Equal(reasons, []string{v1alpha1.ChatbotIDConflictReason, v1alpha1.PublishedReason}) {
			t.Fatalf("%v", reasons)
		}
	}
}

// TestReservation_OfAnotherInstanceStays: the operator does not touch the reservation of an instance that works in other namespaces, and
// returns no error.
func TestReservation_OfAnotherInstanceStays(t *testing.T) {
	theirs, w := newFixture(t), newFixture(t)
	theirs.createBot("theirs", func(bot *v1alpha1.DGbotChatbot) { withHMAC(bot); bot.Spec.ChatbotID = w.ownID() })
	theirs.restBots(live, "theirs")
	w.createBot(botName, w.adopting)
	operator := w.chatbots(live)
	operator.Namespaces = []string{w.Name}
	// It has no rights there, and its cache knows nothing of the namespace.
	blind := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if name.Namespace == theirs.Name {
				return errors.New("unknown namespace for the cache")
			}
			return c.Get(ctx, name, o, options...)
		},
	})
	operator.Client, operator.Live = blind, blind
	// It is asked for what no event names: releasing fails no second time beside the read of the chatbot.
	_, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: theirs.Name, Name: "theirs"}})
	if err == nil || strings.Count(err.Error(), "unknown namespace") != 1 {
		t.Error(err)
	}
	if _, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: botName}}); err != nil {
		t.Error(err)
	}
	if got := w.botReason(botName); got != v1alpha1.ChatbotIDConflictReason {
		t.Errorf("Ready has the reason %s", got)
	}
	if replica := w.secretOf(v1alpha1.IdentityNamespace, reservation.NameOf(w.ownID()).Name); w.reservationOf(w.ownID()) == nil || replica == nil {
		t.Error("the reservation or the replica of the other instance is gone")
	}
}
