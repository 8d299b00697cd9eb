// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	clientevents "k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/chatbots"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// unanswered is a client of which some reads get no answer.
func unanswered(fails readOf) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if fails(o, name) {
				<-ctx.Done()
				return ctx.Err()
			}
			return c.Get(ctx, name, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if fails(list, client.ObjectKey{}) {
				<-ctx.Done()
				return ctx.Err()
			}
			return c.List(ctx, list, options...)
		},
	})
}

// withdrawalTime is what a pass gets to withdraw something while a read hangs: more than a busy machine needs beside read.AttemptTimeout, and
// less than the five seconds that one read without an answer may take on its own.
const withdrawalTime = read.AttemptTimeout + 3*time.Second

// TestObserve_WithdrawsWhileAReadHangs gives a pass less time than one read without an answer may take on its own: what only takes away must not
// wait for it.
func TestObserve_WithdrawsWhileAReadHangs(t *testing.T) {
	asks := map[string]func(*fixture, *v1alpha1.DGbotAPIKey){
		"Revoked":   func(_ *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked },
		"Disabled":  func(_ *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled },
		"expiresAt": func(w *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = w.second() },
		"revokeIssuedBefore": func(w *fixture, k *v1alpha1.DGbotAPIKey) {
			k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.second().UTC().Format(time.RFC3339)}
		},
	}
	for name, missing := range keyReads {
		for ask, change := range asks {
			t.Run(name+", "+ask, func(t *testing.T) {
				t.Parallel()
				w := newFixture(t)
				w.issuedEverywhere()
				if missing.prepare != nil {
					missing.prepare(w)
				}
				w.edit(func(k *v1alpha1.DGbotAPIKey) { change(w, k) })
				operator := w.operator(unanswered(missing.fails))
				if missing.cached {
					operator.Client = live
				}
				operator.Live = unanswered(missing.fails)
				ctx, cancel := context.WithTimeout(t.Context(), withdrawalTime)
				defer cancel()
				_, _ = operator.Reconcile(ctx, w.request()) // it is retried
				records, want := w.records(), 1
				if name == listOfRecords && ask == "revokeIssuedBefore" {
					want = 2 // a key is replaced without a list, before it is revoked
				}
				if len(records) != want || standing.Admit(w.first(), w.clock.Now()) == standing.Admitted {
					t.Errorf("%d records, want %d; the first is %+v", len(records), want, w.first())
				}
				w.rest()
			})
		}
	}
}

// listing answers lists, as a cache does: reservations that an earlier chatbot of the name left are looked for there.
func listing(reads client.WithWatch) client.WithWatch {
	return interceptor.NewClient(reads, interceptor.Funcs{
		List: func(ctx context.Context, _ client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			return live.List(ctx, list, options...)
		},
	})
}

// TestChatbot_WithdrawsWhileAReadHangs is the same for HMAC secrets.
func TestChatbot_WithdrawsWhileAReadHangs(t *testing.T) {
	asks := map[string]func(*fixture, *v1alpha1.DGbotChatbot){
		"revokeIssuedBefore": func(w *fixture, b *v1alpha1.DGbotChatbot) {
			b.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.second()
		},
		"identityVerification removed": func(_ *fixture, b *v1alpha1.DGbotChatbot) { b.Spec.IdentityVerification = nil },
	}
	for name, missing := range chatbotReads {
		for ask, change := range asks {
			t.Run(name+", "+ask, func(t *testing.T) {
				t.Parallel()
				w := newFixture(t)
				hmacBot(w)
				w.restBots(live, botName)
				replica := w.hmacReplica()
				w.advance(time.Minute)
				bot := w.bot(botName)
				change(w, bot)
				if err := live.Update(t.Context(), bot); err != nil {
					t.Fatal(err)
				}
				reads := unanswered(missing.fails(w))
				operator := &chatbots.Reconciler{Client: listing(reads), Live: reads, Recorder: clientevents.NewFakeRecorder(1000), Clock: w.clock}
				ctx, cancel := context.WithTimeout(t.Context(), withdrawalTime)
				defer cancel()
				_, _ = operator.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(bot)}) // it is retried
				text := replica.Data[v1alpha1.IdentitySecretKey]
				if left := w.secretOf(replica.Namespace, replica.Name); left != nil && verifiesHMAC(left, text, w.clock.Now()) {
					t.Error("the HMAC secret verifies on")
				}
				w.restBots(live, botName)
			})
		}
	}
}
