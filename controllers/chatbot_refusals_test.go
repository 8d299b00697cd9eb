// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// refusing is a client whose writes of Secrets go through a webhook of the test's; dry runs as well.
func refusing(webhook func(secret *corev1.Secret, dry bool) error) client.WithWatch {
	ask := func(o client.Object, dryRun []string) error {
		if secret, ok := o.(*corev1.Secret); ok {
			return webhook(secret, len(dryRun) > 0)
		}
		return nil
	}
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if err := ask(o, (&client.CreateOptions{}).ApplyOptions(options).DryRun); err != nil {
				return err
			}
			return c.Create(ctx, o, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			if err := ask(o, (&client.UpdateOptions{}).ApplyOptions(options).DryRun); err != nil {
				return err
			}
			return c.Update(ctx, o, options...)
		},
	})
}

func isReplica(secret *corev1.Secret) bool { return secret.Namespace == v1alpha1.IdentityNamespace }

// botStalled asserts why the chatbot is not Ready.
func (w *fixture) botStalled(reason, says string) {
	w.T.Helper()
	ready := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.ReadyCondition)
	stalled := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.StalledCondition)
	if ready.Reason != reason || !strings.Contains(ready.Message, says) || stalled == nil || stalled.Reason != reason {
		w.T.Errorf("Ready is %s (%s), want %s (…%s…)", ready.Reason, ready.Message, reason, says)
	}
}

func (w *fixture) revokeHMAC() {
	w.T.Helper()
	w.advance(time.Minute)
	w.editBot(func(bot *v1alpha1.DGbotChatbot) {
		bot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.second()
	})
}

func (w *fixture) rotateHMAC() {
	w.T.Helper()
	w.advance(time.Minute)
	w.editBot(func(bot *v1alpha1.DGbotChatbot) { bot.Spec.IdentityVerification.Rotation.RequestedAt = w.second() })
}

// TestARefusedSecretCostsNoHMACSecret, and keeps neither the widget nor a revocation waiting.
func TestARefusedSecretCostsNoHMACSecret(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	no := refusing(func(s *corev1.Secret, _ bool) error {
		if isReplica(s) {
			return nil
		}
		return forbidden("exceeded quota")
	})
	w.restBots(no, botName)
	w.botStalled(v1alpha1.SecretWriteRefusedReason, "exceeded quota")
	if w.hmacReplica() != nil || w.bot(botName).Status.Pending != nil || w.widget() == nil {
		t.Errorf("something was minted, or the widget is missing: %+v", w.bot(botName).Status)
	}
	w.advance(time.Minute)
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if revision := w.hmacRevision(); revision != 1 {
		t.Errorf("revision %d", revision)
	}
	text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	w.revokeHMAC()
	w.restBots(no, botName)
	w.botStalled(v1alpha1.SecretWriteRefusedReason, "exceeded quota")
	if s := w.bot(botName).Status; verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) || !s.Current.Revoked || s.LastHandledRequest == nil {
		t.Errorf("the revoked one verifies, or is not said to be revoked: %+v", s)
	}
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
}

func TestAnImmutableSecretOfAChatbot(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.restBots(live, botName)
	yes := true
	w.editSecretOf(w.hmacSecret(), func(s *corev1.Secret) { s.Immutable = &yes })
	text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	w.rotateHMAC()
	w.restBots(live, botName)
	w.botStalled(v1alpha1.SecretWriteRefusedReason, `; delete Secret "support-bot-identity", and the operator creates the Secret again`)
	if !verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) || w.bot(botName).Status.Pending != nil {
		t.Error("what is published does not verify, or another one was minted")
	}
	w.deleteObject(w.hmacSecret())
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if before := w.hmacSecret().Data[v1alpha1.IdentitySecretKey+v1alpha1.IdentityPreviousSuffix]; string(before) != string(text) {
		t.Error("the previous one is not published")
	}
}

// TestARefusedCopy: nothing is published, and a revocation is not said to be done.
func TestARefusedCopy(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	no := refusing(func(s *corev1.Secret, _ bool) error {
		if !isReplica(s) {
			return nil
		}
		return forbidden("no right in this namespace")
	})
	w.restBots(no, botName)
	w.botStalled(v1alpha1.CopyWriteRefusedReason, "cannot be created: ")
	if w.hmacSecret() != nil {
		t.Error("something was published that verifiers do not know")
	}
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	w.revokeHMAC()
	w.restBots(no, botName)
	w.botStalled(v1alpha1.CopyWriteRefusedReason, "cannot be written, and the HMAC secrets in the replica are still valid: ")
	if s := w.bot(botName).Status; s.LastHandledRequest != nil || !verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) {
		t.Errorf("a revocation is said to be done that is not: %+v", s.LastHandledRequest)
	}
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if s := w.bot(botName).Status; s.LastHandledRequest == nil || verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) {
		t.Errorf("the revocation: %+v", s.LastHandledRequest)
	}
}

// TestRejections_QuoteNoHMACSecret by what quotes what it was shown.
func TestRejections_QuoteNoHMACSecret(t *testing.T) {
	spelled := func(text []byte) string { return strings.Join(strings.Split(string(text), ""), "-") }
	for name, quote := range map[string]func(text []byte) string{
		"as it is":  func(text []byte) string { return string(text) },
		"in base64": base64.StdEncoding.EncodeToString,
		"spelled":   func(text []byte) string { return `admission webhook "quoting" denied the request: ` + spelled(text) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			hmacBot(w)
			w.restBots(live, botName)
			text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
			w.rotateHMAC()
			for _, ofCopies := range []bool{false, true} {
				w.restBots(refusing(func(s *corev1.Secret, _ bool) error {
					if isReplica(s) != ofCopies {
						return nil
					}
					return forbidden("%s %s", quote(text), quote(s.Data[v1alpha1.IdentitySecretKey]))
				}), botName)
				bot := w.bot(botName)
				said := fmt.Sprint(bot.Status.Conditions)
				if bot.Status.Conditions == nil || w.botReason(botName) == v1alpha1.PublishedReason {
					t.Fatalf("nothing was refused: %s", said)
				}
				for _, secret := range []string{string(text), base64.StdEncoding.EncodeToString(text), spelled(text)} {
					if strings.Contains(said, secret[len(secret)/2:]) {
						t.Errorf("the HMAC secret is in a message: %s", said)
					}
				}
			}
		})
	}
}

// TestAWebhookThatChangesAnHMACSecret in the write that publishes it.
func TestAWebhookThatChangesAnHMACSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		copies bool
		reason string
		says   string
	}{
		"in the Secret": {false, v1alpha1.SecretWriteRefusedReason, "does not hold an HMAC secret that the operator wrote"},
		"in the copy":   {true, v1alpha1.CopyWriteRefusedReason, "has changed the entries"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			hmacBot(w)
			w.restBots(refusing(func(s *corev1.Secret, _ bool) error {
				if isReplica(s) == tc.copies && s.Data[v1alpha1.IdentitySecretKey+v1alpha1.IdentityPendingSuffix] != nil == tc.copies {
					for _, entry := range []string{v1alpha1.IdentitySecretKey, v1alpha1.IdentitySecretKey + v1alpha1.IdentityPendingSuffix} {
						if s.Data[entry] != nil {
							s.Data[entry] = []byte("something else altogether")
						}
					}
				}
				return nil
			}), botName)
			w.botStalled(tc.reason, tc.says)
			if s := w.bot(botName).Status; s.Current != nil {
				t.Errorf("it counts as published: %+v", s.Current)
			}
		})
	}
}

// TestARevocationDoesNotWaitForAnAnswer: where no instance knows the outcome of an attempt to replace it, a leaked secret ends all the
// same.
func TestARevocationDoesNotWaitForAnAnswer(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.restBots(live, botName)
	text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	w.revokeHMAC()
	silent := w.chatbots(refusing(func(s *corev1.Secret, _ bool) error {
		if isReplica(s) {
			return nil
		}
		return errors.New("the API server does not answer")
	}))
	_, err := silent.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: botName}})
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("the error is lost: %v", err)
	}
	if verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) {
		t.Error("the leaked secret still verifies")
	}
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if got := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]; identity.Hash(got) == identity.Hash(text) {
		t.Error("the leaked secret is still published")
	}
}

// TestAChatbotAtRestCostsNoRequests: neither a look that nothing has come of, nor one after a while.
func TestAChatbotAtRestCostsNoRequests(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	requests := 0
	counting := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			requests++
			return c.Get(ctx, name, o, options...)
		},
	})
	operator := w.chatbots(live)
	operator.Live = counting
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: botName}}
	reconcile := func() {
		t.Helper()
		if _, err := operator.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	reconcile()
	reconcile()
	requests = 0
	for range 5 {
		w.advance(10 * time.Minute)
		reconcile()
	}
	if requests != 0 {
		t.Errorf("%d requests of objects at rest", requests)
	}
	w.editSecretOf(w.hmacSecret(), func(s *corev1.Secret) { s.Data[v1alpha1.IdentityKID] = []byte("other") })
	reconcile()
	if requests == 0 || string(w.hmacSecret().Data[v1alpha1.IdentityKID]) == "other" {
		t.Error("a change was not looked at")
	}
	operator.SecretCheckInterval = time.Minute
	reconcile()
	requests = 0
	reconcile()
	if requests != 0 {
		t.Errorf("%d requests before it is time to look again", requests)
	}
	w.advance(time.Minute)
	reconcile()
	if requests == 0 {
		t.Error("a Secret that is not watched is not looked at")
	}
}
