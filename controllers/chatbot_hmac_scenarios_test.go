// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/reservation"
)

var hmacScenarios = map[string]botScenario{
	"a chatbot with an HMAC secret is created": {
		prepare: func(*fixture) {}, happen: hmacBot, bots: []string{botName}, minted: 1, reason: v1alpha1.PublishedReason,
	},
	"its HMAC secret is rotated": {
		prepare: hmacBot,
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.editBot(func(bot *v1alpha1.DGbotChatbot) { bot.Spec.IdentityVerification.Rotation.RequestedAt = w.second() })
		},
		bots: []string{botName}, minted: 1, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			secret, bot := w.hmacSecret(), w.bot(botName)
			if len(secret.Data) != 5 || len(bot.Status.Previous) != 1 || bot.Status.Previous[0].NotAfter == nil || bot.Status.LastHandledRequest == nil {
				w.T.Errorf("%d entries, %+v", len(secret.Data), bot.Status)
			}
			w.advance(2 * time.Hour)
			w.restBots(live, botName)
			if secret = w.hmacSecret(); len(secret.Data) != 3 || len(w.bot(botName).Status.Previous) != 0 {
				w.T.Errorf("after the overlap: %d entries, %+v", len(secret.Data), w.bot(botName).Status)
			}
		},
	},
	"its HMAC secret is revoked": {
		prepare: hmacBot,
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.editBot(func(bot *v1alpha1.DGbotChatbot) {
				bot.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.second().Format(time.RFC3339)}
			})
		},
		bots: []string{botName}, interrupts: true, minted: 1, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if shown := shownSuffixes(w.hmacReplica()); len(shown) != 1 || len(w.hmacSecret().Data) != 3 {
				w.T.Errorf("%q", shown)
			}
		},
	},
	"its HMAC secret is revoked while its copy cannot be read": {
		prepare: hmacBot,
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.editBot(func(bot *v1alpha1.DGbotChatbot) {
				bot.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.second().Format(time.RFC3339)}
			})
		},
		bots: []string{botName}, interrupts: true, minted: 1, reason: v1alpha1.PublishedReason,
		unreadable: chatbotReads["the replica and its metadata"].fails,
		unread: func(w *fixture) {
			replica := w.hmacReplica()
			for _, suffix := range shownSuffixes(replica) {
				if string(replica.Data[v1alpha1.CopyRevision+suffix]) == "1" {
					w.T.Errorf("revision 1 is still in the copy")
				}
			}
		},
	},
	"its Secret is deleted": {
		prepare: hmacBot, happen: func(w *fixture) { w.deleteObject(w.hmacSecret()) },
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
	},
	"its Secret is altered": {
		prepare: hmacBot,
		happen: func(w *fixture) {
			w.editSecretOf(w.hmacSecret(), func(s *corev1.Secret) {
				s.OwnerReferences, s.Data[v1alpha1.IdentitySecretKey], s.Data["theirs"] = nil, []byte("junk"), []byte("stays")
			})
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if s := w.hmacSecret(); len(s.OwnerReferences) != 1 || string(s.Data["theirs"]) != "stays" {
				w.T.Errorf("%d owners", len(s.OwnerReferences))
			}
		},
	},
	"its copy is deleted": {
		prepare: hmacBot, happen: func(w *fixture) { w.deleteObject(w.hmacReplica()) },
		bots: []string{botName}, interrupts: true, reason: v1alpha1.PublishedReason,
	},
	"its copy is altered": {
		prepare: hmacBot,
		happen: func(w *fixture) {
			w.editSecretOf(w.hmacReplica(), func(s *corev1.Secret) {
				s.Data[v1alpha1.IdentitySecretKey], s.Data["hmac-secret-pending"] = []byte("the attacker's own"), []byte("another one of his")
			})
		},
		bots: []string{botName}, interrupts: true, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if n := len(shownSuffixes(w.hmacReplica())); n != 1 {
				w.T.Errorf("%d verify", n)
			}
		},
	},
	"its Secret and its copy are deleted": {
		prepare: hmacBot, happen: func(w *fixture) { w.deleteObject(w.hmacReplica()); w.deleteObject(w.hmacSecret()) },
		bots: []string{botName}, interrupts: true, minted: 1, reason: v1alpha1.PublishedReason,
	},
	"its status is lost": {
		prepare: hmacBot,
		happen: func(w *fixture) {
			bot := w.bot(botName)
			bot.Status = v1alpha1.DGbotChatbotStatus{}
			if err := live.Status().Update(w.T.Context(), bot); err != nil {
				w.T.Fatal(err)
			}
		},
		bots: []string{botName}, minted: 1, reason: v1alpha1.PublishedReason, // from revision 0, in the lost status, to 1
		check: func(w *fixture) {
			if c := w.bot(botName).Status.Current; c.Revision != 1 || c.Cause != v1alpha1.CauseFirstIssue {
				w.T.Errorf("%+v", c)
			}
		},
	},
	"its HMAC secret is imported": {
		prepare: func(w *fixture) { w.existing(theirs) }, happen: func(w *fixture) { w.createBot(botName, importing) },
		bots: []string{botName}, minted: 1, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if s := w.hmacSecret(); string(s.Data[v1alpha1.IdentitySecretKey]) != theirs || string(w.secretOf(w.Name, "existing").Data["hmac"]) != theirs {
				w.T.Error("it is not what was imported, or the source was written")
			}
		},
	},
	"it is to have no HMAC secret any more": {
		prepare: hmacBot,
		happen:  func(w *fixture) { w.editBot(func(bot *v1alpha1.DGbotChatbot) { bot.Spec.IdentityVerification = nil }) },
		bots:    []string{botName}, interrupts: true, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if s := w.bot(botName).Status; w.hmacReplica() != nil || s.Current != nil || s.Binding != nil || w.hmacSecret() == nil {
				w.T.Errorf("%+v", s)
			}
		},
	},
	"the name of its Secret is taken": {
		prepare: func(w *fixture) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: botName + "-identity"}, Data: map[string][]byte{"a": []byte("b")}}
			if err := live.Create(w.T.Context(), secret); err != nil {
				w.T.Fatal(err)
			}
		},
		happen: hmacBot, bots: []string{botName}, reason: v1alpha1.SecretConflictReason,
		check: func(w *fixture) {
			if s := w.hmacSecret(); len(s.Data) != 1 || len(s.Labels)+len(s.OwnerReferences) > 0 || w.hmacReplica() != nil || w.bot(botName).Status.Pending != nil {
				w.T.Errorf("a user's Secret is now %+v", s.ObjectMeta)
			}
		},
	},
	"a chatbot with an HMAC secret is deleted": {
		prepare: func(w *fixture) {
			w.createBot(botName, func(bot *v1alpha1.DGbotChatbot) { withHMAC(bot); w.adopting(bot) })
		},
		happen: func(w *fixture) { w.deleteBot(botName) },
		bots:   []string{botName}, interrupts: true,
		check: func(w *fixture) {
			if w.reservationOf(w.ownID()) != nil || w.secretOf(v1alpha1.IdentityNamespace, reservation.NameOf(w.ownID()).Name) != nil {
				w.T.Error("the reservation or the replica is still there")
			}
		},
	},
	"a chatbot with an HMAC secret is being deleted": {
		prepare: func(w *fixture) {
			w.createBot(botName, func(bot *v1alpha1.DGbotChatbot) { withHMAC(bot); bot.Finalizers = []string{"example.com/wait"} })
		},
		happen: func(w *fixture) { w.deleteBot(botName) },
		bots:   []string{botName}, interrupts: true,
		check: func(w *fixture) {
			if w.hmacReplica() != nil {
				w.T.Error("what is being deleted still verifies")
			}
		},
	},
	"another chatbot gets the ID": {
		prepare: func(w *fixture) {
			w.createBot("first", func(bot *v1alpha1.DGbotChatbot) { withHMAC(bot); w.adopting(bot) })
		},
		happen: func(w *fixture) {
			w.deleteBot("first")
			w.createBot(botName, func(bot *v1alpha1.DGbotChatbot) { withHMAC(bot); w.adopting(bot) })
		},
		bots: []string{botName, "first"}, minted: 1, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if first := w.secretOf(w.Name, "first-identity"); first != nil && verifiesHMAC(w.hmacReplica(), first.Data[v1alpha1.IdentitySecretKey], w.clock.Now()) {
				w.T.Error("what the last holder signs still verifies")
			}
		},
	},
}
