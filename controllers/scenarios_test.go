// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// scenario is something that happens to a key at rest, and what must have come of it whatever breaks on the way.
type scenario struct {
	// prepare sets the key up; nil for a plain one. It is brought to rest afterwards.
	prepare func(*fixture)
	// happen is what happens then.
	happen func(*fixture)
	// causes are those that new records may have; none means that nothing may be minted.
	causes []v1alpha1.Cause
	// interrupts: what happens ends the key in use, so it need not verify on the way.
	interrupts bool
	// reason is that of Ready in the end.
	reason string
	// check asserts what else must hold in the end.
	check func(*fixture)
}

func hour() *metav1.Duration { return &metav1.Duration{Duration: time.Hour} }

var scenarios = map[string]scenario{
	"a key is created": {
		prepare: func(*fixture) {},
		happen:  func(w *fixture) { w.create(nil) },
		causes:  []v1alpha1.Cause{v1alpha1.CauseFirstIssue},
		reason:  v1alpha1.IssuedReason,
	},
	"a rotation is requested": {
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRequest},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			handled := w.key().Status.LastHandledRequest
			if handled == nil || !handled.RotateRequestedAt.Equal(w.key().Spec.Rotation.RequestedAt) {
				w.T.Errorf("lastHandledRequest is %v", handled)
			}
			if first := w.first(); first == nil || first.Spec.NotAfter == nil || first.Spec.NotAfter.Sub(w.published().Spec.IssuedAt.Time) > time.Hour {
				w.T.Errorf("revision 1 does not end with the overlap: %+v", first)
			}
		},
	},
	"a rotation is requested without overlap": {
		prepare: func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = &metav1.Duration{} })
		},
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) {
				k.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: w.second().Format(time.RFC3339)}
			})
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRequest},
		reason: v1alpha1.IssuedReason,
	},
	"the interval passes ten times over": {
		prepare: func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation = &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 24 * time.Hour}, Overlap: hour()}
			})
		},
		happen: func(w *fixture) { w.advance(240 * time.Hour) },
		causes: []v1alpha1.Cause{v1alpha1.CauseSchedule},
		reason: v1alpha1.IssuedReason,
	},
	"the current revision is revoked": {
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRevocation}, interrupts: true,
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if first := w.first(); first.Spec.State != v1alpha1.StateRevoked {
				w.T.Errorf("revision 1 is %s", first.Spec.State)
			}
		},
	},
	"the key is revoked": {
		happen: func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
		},
		interrupts: true,
		reason:     v1alpha1.RevokedReason,
	},
	"the key is disabled": {
		happen: func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
		},
		interrupts: true,
		reason:     v1alpha1.DisabledReason,
	},
	"the key is active again after it was revoked": {
		prepare: func(w *fixture) {
			w.create(nil)
			w.rest()
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
		},
		happen: func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateActive })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseReactivation}, interrupts: true,
		reason: v1alpha1.IssuedReason,
	},
	"the Secret is deleted": {
		happen: func(w *fixture) { w.deleteSecret() },
		causes: []v1alpha1.Cause{v1alpha1.CauseSecretLost}, interrupts: true,
		reason: v1alpha1.IssuedReason,
	},
	"the key in the Secret is altered": {
		happen: func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) { s.Data[v1alpha1.DefaultSecretKey] = []byte("not a key") })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseSecretAltered}, interrupts: true,
		reason: v1alpha1.IssuedReason,
	},
	"an older key is put back": {
		prepare: func(w *fixture) {
			w.create(nil)
			w.rest()
			first := w.secret().Data[v1alpha1.DefaultSecretKey]
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			w.rest()
			w.editSecret(func(s *corev1.Secret) {
				s.Annotations["older"] = string(first)
			})
		},
		happen: func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) { s.Data[v1alpha1.DefaultSecretKey] = []byte(s.Annotations["older"]) })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseSecretAltered}, interrupts: true,
		reason: v1alpha1.IssuedReason,
	},
	"other entries, the owner and the labels are taken from the Secret": {
		happen: func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) {
				s.OwnerReferences, s.Annotations = nil, nil
				s.Labels = map[string]string{v1alpha1.APIKeyLabel: s.Labels[v1alpha1.APIKeyLabel]}
				s.Data[v1alpha1.SecretKeyID] = []byte("other")
				s.Data["theirs"] = []byte("stays")
			})
		},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			s := w.secret()
			if len(s.OwnerReferences) != 1 || s.Labels[v1alpha1.ManagedByLabel] == "" || string(s.Data[v1alpha1.SecretKeyID]) == "other" || string(s.Data["theirs"]) != "stays" {
				w.T.Errorf("not repaired: %v %v %s", s.OwnerReferences, s.Labels, s.Data[v1alpha1.SecretKeyID])
			}
		},
	},
	"the record of the key in use is deleted": {
		happen: func(w *fixture) {
			if err := live.Delete(w.T.Context(), w.first()); err != nil {
				w.T.Fatal(err)
			}
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRecordLost}, interrupts: true,
		reason: v1alpha1.IssuedReason,
	},
	"expiresAt moves later": {
		prepare: func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(time.Hour)} })
		},
		happen: func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(9 * time.Hour)} })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseExpiryChanged},
		reason: v1alpha1.IssuedReason,
	},
	"label, scopes and expiresAt change": {
		happen: func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.Label, k.Spec.Scopes, k.Spec.ExpiresAt = "Other", nil, &metav1.Time{Time: w.second().Add(time.Hour)}
			})
		},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if r := w.published(); r.Spec.Label != "Other" || len(r.Spec.Scopes) != 0 || r.Spec.NotAfter == nil {
				w.T.Errorf("the record does not follow: %+v", r.Spec)
			}
		},
	},
	"more revisions have ended than are kept": {
		prepare: func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = hour() })
			w.rest()
			for range 10 {
				w.advance(time.Minute)
				w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
				w.rest()
			}
		},
		happen: func(w *fixture) {
			w.advance(3 * time.Hour)
			w.edit(func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.Rotation.RequestedAt = &metav1.Time{Time: w.second().Add(-time.Minute)}
				k.Spec.Rotation.Overlap = &metav1.Duration{}
			})
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRequest},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if n := len(w.records()); n != 11 {
				w.T.Errorf("%d records are left, want the current one and ten ended ones", n)
			}
		},
	},
	"the key gets a chatbot": {
		prepare: func(w *fixture) {
			w.create(nil)
			w.createBot(botName, nil)
			w.restBots(live, botName)
		},
		happen: func(w *fixture) {
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: botName} })
		},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if id := w.bot(botName).Status.ChatbotID; w.first().Spec.ChatbotID != id || string(w.secret().Data[v1alpha1.SecretChatbotID]) != id {
				w.T.Errorf("record %q, Secret %q, want %q", w.first().Spec.ChatbotID, w.secret().Data[v1alpha1.SecretChatbotID], id)
			}
		},
	},
	"the key is deleted while a user's finalizer holds it": {
		prepare: func(w *fixture) {
			w.create(func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = []string{"example.com/held"} })
		},
		happen: func(w *fixture) {
			if err := live.Delete(w.T.Context(), w.key(), client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
				w.T.Fatal(err)
			}
		},
		interrupts: true,
		reason:     v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if r := w.first(); r.Spec.State != v1alpha1.StateRevoked {
				w.T.Errorf("revision 1 is %s", r.Spec.State)
			}
		},
	},
	"its environment gets a rule that it breaks": {
		prepare: func(w *fixture) { w.create(w.ofEnvironment(w.Name)) },
		happen: func(w *fixture) {
			w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"reports.*"} })
		},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if !apimeta.IsStatusConditionTrue(w.key().Status.Conditions, v1alpha1.PolicyViolationCondition) {
				w.T.Error("nothing says that it breaks the rule")
			}
		},
	},
	"a key is created that breaks a rule": {
		prepare: func(w *fixture) {
			w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"reports.*"} })
		},
		happen: func(w *fixture) { w.create(w.ofEnvironment(w.Name)) },
		reason: v1alpha1.EnvironmentPolicyReason,
		check: func(w *fixture) {
			if len(w.records()) != 0 || w.secret() != nil {
				w.T.Error("something was issued")
			}
		},
	},
	"the rule goes that kept a key from being issued": {
		prepare: func(w *fixture) {
			w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"reports.*"} })
			w.create(w.ofEnvironment(w.Name))
		},
		happen: func(w *fixture) {
			w.changeRules(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = nil })
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseFirstIssue},
		reason: v1alpha1.IssuedReason,
	},
	"another writer writes the Secret while a revision is published": {
		happen: func(w *fixture) {
			w.advance(time.Minute)
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = w.second() })
			w.onCreate = func() {
				w.onCreate = nil
				w.editSecret(func(s *corev1.Secret) { s.Data["theirs"] = []byte("written meanwhile") })
			}
		},
		causes: []v1alpha1.Cause{v1alpha1.CauseRequest},
		reason: v1alpha1.IssuedReason,
		check: func(w *fixture) {
			if string(w.secret().Data["theirs"]) != "written meanwhile" {
				w.T.Error("what they wrote is lost")
			}
		},
	},
}
