// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientevents "k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/chatbots"
	"dgbot.io/key-operator/controllers/environments"
)

// chatbotReads are the reads that an observation of a chatbot makes, beside that of the chatbot itself.
var chatbotReads = map[string]struct {
	fails func(*fixture) readOf
	// named is how the condition names it.
	named string
	// issues: the HMAC secret does not depend on it, and is replaced as usual.
	issues bool
}{
	"the Secret": {
		fails: func(w *fixture) readOf {
			return func(o runtime.Object, name client.ObjectKey) bool {
				return isSecret(o) && name.Namespace == w.Name
			}
		},
		named: `Secret "support-bot-identity"`,
	},
	"the replica's bytes": {
		fails: func(*fixture) readOf {
			return func(o runtime.Object, name client.ObjectKey) bool {
				_, typed := o.(*corev1.Secret)
				return typed && name.Namespace == v1alpha1.IdentityNamespace
			}
		},
		named: "the replica of the HMAC secret",
	},
	"the replica and its metadata": { // as with a cache that was never filled
		fails: func(*fixture) readOf {
			return func(o runtime.Object, name client.ObjectKey) bool {
				list, ok := o.(*metav1.PartialObjectMetadataList)
				return isSecret(o) && name.Namespace == v1alpha1.IdentityNamespace || ok && list.Kind == "SecretList"
			}
		},
		named: "the replica of the HMAC secret",
	},
	"the reservation": {
		fails: func(*fixture) readOf {
			return func(o runtime.Object, name client.ObjectKey) bool {
				_, ok := o.(*corev1.ConfigMap)
				return ok && name.Namespace == v1alpha1.IdentityNamespace
			}
		},
		named: "ConfigMap dgbot-identity/",
	},
	"the widget": {
		fails: func(w *fixture) readOf {
			return func(o runtime.Object, name client.ObjectKey) bool {
				_, ok := o.(*corev1.ConfigMap)
				return ok && name.Namespace == w.Name
			}
		},
		named: `ConfigMap "support-bot-widget"`, issues: true,
	},
	"every ConfigMap and Secret": {
		fails: func(*fixture) readOf {
			return func(o runtime.Object, _ client.ObjectKey) bool {
				switch o := o.(type) {
				case *corev1.ConfigMap, *corev1.ConfigMapList, *corev1.Secret:
					return true
				case *metav1.PartialObjectMetadataList:
					return o.Kind == "SecretList"
				}
				return false
			}
		},
		named: "ConfigMap dgbot-identity/",
	},
}

func (w *fixture) failingChatbots(fails readOf) (*chatbots.Reconciler, *faults) {
	reads, count := unreadable(errUndecryptable, fails)
	return &chatbots.Reconciler{Client: reads, Live: reads, Recorder: clientevents.NewFakeRecorder(1000), Clock: w.clock}, count
}

func (w *fixture) reconcileBot(operator *chatbots.Reconciler) {
	w.T.Helper()
	w.restBotsWith(operator, botName)
}

// TestChatbot_EveryReadFails: a revocation is done without it, the condition names it, retries write nothing, and the chatbot goes
// on by itself once it can be read.
func TestChatbot_EveryReadFails(t *testing.T) {
	for name, read := range chatbotReads {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			hmacBot(w)
			w.restBots(live, botName)
			text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
			if !verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) {
				t.Fatal("the HMAC secret does not verify")
			}
			w.advance(time.Minute)
			bot := w.bot(botName)
			bot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.second()
			if err := live.Update(t.Context(), bot); err != nil {
				t.Fatal(err)
			}
			operator, count := w.failingChatbots(read.fails(w))
			w.reconcileBot(operator)
			if verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) {
				t.Error("the HMAC secret verifies on")
			}
			bot = w.bot(botName)
			for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.StalledCondition} {
				c := apimeta.FindStatusCondition(bot.Status.Conditions, kind)
				if c == nil || c.Reason != v1alpha1.ObservationFailedReason || !strings.Contains(c.Message, read.named) || !strings.Contains(c.Message, "KMS is down") {
					t.Errorf("%s is %+v", kind, c)
				}
			}
			if issued := bot.Status.Current.Revision > 1; issued != read.issues {
				t.Errorf("the current revision is %d", bot.Status.Current.Revision)
			}
			if bot.Status.LastHandledRequest == nil || bot.Status.LastHandledRequest.RevokeIssuedBefore == nil {
				t.Error("the revocation is not reported as handled")
			}
			writes := count.writes
			for range 3 {
				w.advance(2 * time.Minute)
				w.reconcileBot(operator)
			}
			if count.writes != writes {
				t.Errorf("%d writes by retries, at %v", count.writes-writes, count.sites)
			}
			w.restBots(live, botName)
			if reason := w.botReason(botName); reason != v1alpha1.PublishedReason {
				t.Errorf("once everything can be read, Ready is %s", reason)
			}
			if w.bot(botName).Status.Current.Revision != 2 || !verifiesHMAC(w.hmacReplica(), w.hmacSecret().Data[v1alpha1.IdentitySecretKey], w.clock.Now()) {
				t.Errorf("the HMAC secret was not replaced: %+v", w.bot(botName).Status.Current)
			}
		})
	}
}

// TestChatbot_WithdrawalNeedsNoOtherRead: identity verification ends where it is taken away, and where the chatbot is deleted.
func TestChatbot_WithdrawalNeedsNoOtherRead(t *testing.T) {
	for name, withdraw := range map[string]func(*fixture){
		"identityVerification removed": func(w *fixture) {
			bot := w.bot(botName)
			bot.Spec.IdentityVerification = nil
			if err := live.Update(w.T.Context(), bot); err != nil {
				w.T.Fatal(err)
			}
		},
		"deleted, and held by a finalizer": func(w *fixture) {
			bot := w.bot(botName)
			bot.Finalizers = []string{"example.com/held"}
			if err := live.Update(w.T.Context(), bot); err != nil {
				w.T.Fatal(err)
			}
			w.deleteBot(botName)
			w.T.Cleanup(func() {
				_ = live.Patch(w.T.Context(), bot, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
			})
		},
		"deleted": func(w *fixture) { w.deleteBot(botName) },
	} {
		for _, read := range []string{"the Secret", "the replica's bytes", "the replica and its metadata", "the reservation", "the widget"} {
			t.Run(name+", "+read, func(t *testing.T) {
				w := newFixture(t)
				hmacBot(w)
				w.restBots(live, botName)
				copied := w.hmacReplica()
				text := copied.Data[v1alpha1.IdentitySecretKey]
				withdraw(w)
				operator, _ := w.failingChatbots(chatbotReads[read].fails(w))
				if name == "deleted" {
					// Replicas that cannot be listed are an error, which is retried: others may remain.
					_, _ = operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: botName}})
				} else {
					w.reconcileBot(operator)
				}
				left := w.secretOf(copied.Namespace, copied.Name)
				if left != nil && (read != "the replica and its metadata" || verifiesHMAC(left, text, w.clock.Now())) {
					t.Error("the replica is still there")
				}
				w.restBots(live, botName)
				if w.secretOf(copied.Namespace, copied.Name) != nil {
					t.Error("once everything can be read, the replica is still there")
				}
			})
		}
	}
}

// TestChatbot_OnlyTheEarlierSecretIsRevoked: from a replica that cannot be read, the revoked one is removed and the one in use stays.
func TestChatbot_OnlyTheEarlierSecretIsRevoked(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.restBots(live, botName)
	earlier := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	revokeBefore := w.second()
	w.advance(time.Minute)
	change := func(change func(*v1alpha1.IdentityRotation)) {
		bot := w.bot(botName)
		change(bot.Spec.IdentityVerification.Rotation)
		if err := live.Update(t.Context(), bot); err != nil {
			t.Fatal(err)
		}
	}
	change(func(r *v1alpha1.IdentityRotation) { r.RequestedAt = w.second() })
	w.restBots(live, botName)
	present := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	if now := w.clock.Now(); bytes.Equal(earlier, present) || !verifiesHMAC(w.hmacReplica(), earlier, now) || !verifiesHMAC(w.hmacReplica(), present, now) {
		t.Fatal("no two HMAC secrets verify")
	}
	change(func(r *v1alpha1.IdentityRotation) { r.RevokeIssuedBefore = revokeBefore })
	operator, _ := w.failingChatbots(chatbotReads["the replica and its metadata"].fails(w))
	w.reconcileBot(operator)
	if now := w.clock.Now(); verifiesHMAC(w.hmacReplica(), earlier, now) || !verifiesHMAC(w.hmacReplica(), present, now) {
		t.Errorf("the replica has %v", slices.Sorted(maps.Keys(w.hmacReplica().Data)))
	}
	if bot := w.bot(botName); len(bot.Status.Previous) > 0 || bot.Status.LastHandledRequest == nil || bot.Status.LastHandledRequest.RevokeIssuedBefore == nil {
		t.Errorf("the status is %+v", bot.Status)
	}
}

// TestChatbot_ReplicaNeitherReadNorWritten: as while the KMS is down. The condition says that what was revoked may verify, the
// request stays open, and the revocation is done once the replica can be written.
func TestChatbot_ReplicaNeitherReadNorWritten(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.restBots(live, botName)
	text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	w.advance(time.Minute)
	bot := w.bot(botName)
	bot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = w.second()
	if err := live.Update(t.Context(), bot); err != nil {
		t.Fatal(err)
	}
	operator, _ := w.failingChatbots(chatbotReads["the replica and its metadata"].fails(w))
	readable := operator.Client
	operator.Client = interceptor.NewClient(readable.(client.WithWatch), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if o.GetNamespace() == v1alpha1.IdentityNamespace {
				return errUndecryptable
			}
			return c.Patch(ctx, o, patch, options...)
		},
	})
	w.reconcileBot(operator)
	if reason := w.botReason(botName); reason != v1alpha1.CopyWriteRefusedReason {
		t.Errorf("Ready is %s", reason)
	}
	if bot := w.bot(botName); !bot.Status.Current.Revoked || bot.Status.LastHandledRequest != nil {
		t.Errorf("the status is %+v", bot.Status)
	}
	operator.Client = readable
	w.advance(10 * time.Minute)
	w.reconcileBot(operator)
	if verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) || w.bot(botName).Status.LastHandledRequest == nil {
		t.Error("once the replica can be written, the HMAC secret verifies on")
	}
}

// TestChatbot_ImportSourceUnreadable: only the first HMAC secret depends on it.
func TestChatbot_ImportSourceUnreadable(t *testing.T) {
	w := newFixture(t)
	source := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: "existing"}, Data: map[string][]byte{"hmac": []byte("0123456789abcdef0123456789abcdef")},
	}
	if err := live.Create(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	w.createBot(botName, func(bot *v1alpha1.DGbotChatbot) {
		withHMAC(bot)
		bot.Spec.IdentityVerification.ImportFrom = &v1alpha1.ImportSource{Name: source.Name, Key: "hmac"}
	})
	fails := func(o runtime.Object, name client.ObjectKey) bool { return isSecret(o) && name.Name == source.Name }
	operator, _ := w.failingChatbots(fails)
	for range 2 { // the first pass reserves the ID
		w.reconcileBot(operator)
	}
	if reason := w.botReason(botName); reason != v1alpha1.ObservationFailedReason || w.hmacRevision() != 0 {
		t.Errorf("Ready is %s, revision %d", reason, w.hmacRevision())
	}
	w.restBots(live, botName)
	if reason := w.botReason(botName); reason != v1alpha1.PublishedReason {
		t.Fatalf("Ready is %s", reason)
	}
	operator, _ = w.failingChatbots(fails)
	w.advance(time.Hour)
	w.reconcileBot(operator)
	if reason := w.botReason(botName); reason != v1alpha1.PublishedReason {
		t.Errorf("Ready is %s once the HMAC secret was imported", reason)
	}
}

// TestEnvironment_FailedReads: the status names what could not be read, and keeps what was read last.
func TestEnvironment_FailedReads(t *testing.T) {
	for name, read := range map[string]struct {
		fails readOf
		named string
	}{
		"keys": {anyOf[*v1alpha1.DGbotAPIKeyList](), "list of DGbotAPIKeys of the environment"},
		"namespaces": {func(o runtime.Object, _ client.ObjectKey) bool {
			list, ok := o.(*metav1.PartialObjectMetadataList)
			return ok && list.Kind == "NamespaceList"
		}, "list of namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			env := w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) {
				s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.Name}}
			})
			request := ctrl.Request{NamespacedName: types.NamespacedName{Name: env}}
			ready := func(reads client.Client) *metav1.Condition {
				operator := &environments.Reconciler{Client: reads, Recorder: clientevents.NewFakeRecorder(10), Clock: w.clock}
				if _, err := operator.Reconcile(t.Context(), request); err != nil {
					t.Fatal(err)
				}
				is := &v1alpha1.DGbotEnvironment{}
				if err := live.Get(t.Context(), request.NamespacedName, is); err != nil {
					t.Fatal(err)
				}
				return apimeta.FindStatusCondition(is.Status.Conditions, v1alpha1.ReadyCondition)
			}
			reads, count := unreadable(errUndecryptable, read.fails)
			if c := ready(reads); c == nil || c.Reason != v1alpha1.ObservationFailedReason || !strings.Contains(c.Message, read.named) {
				t.Errorf("Ready is %+v", c)
			}
			w.advance(time.Hour)
			if ready(reads); count.writes != 1 {
				t.Errorf("%d writes", count.writes)
			}
			if c := ready(live); c.Reason != v1alpha1.EnforcedReason {
				t.Errorf("Ready is %+v", c)
			}
		})
	}
}
