// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/internal/identity"
)

func withHMAC(bot *v1alpha1.DGbotChatbot) {
	bot.Spec.IdentityVerification = &v1alpha1.IdentityVerification{
		Rotation: &v1alpha1.IdentityRotation{Overlap: &metav1.Duration{Duration: time.Hour}},
	}
}

func hmacBot(w *fixture) { w.createBot(botName, withHMAC) }

// secretOf returns a Secret; nil where there is none.
func (w *fixture) secretOf(namespace, name string) *corev1.Secret {
	w.T.Helper()
	secret := &corev1.Secret{}
	found, err := read.Get(w.T.Context(), live, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if err != nil {
		w.T.Fatal(err)
	}
	if !found {
		return nil
	}
	return secret
}

func (w *fixture) hmacSecret() *corev1.Secret { return w.secretOf(w.Name, botName+"-identity") }

// hmacReplica returns the copy of support-bot's HMAC secret; nil where there is none.
func (w *fixture) hmacReplica() *corev1.Secret {
	w.T.Helper()
	bot := &v1alpha1.DGbotChatbot{}
	found, err := read.Get(w.T.Context(), live, types.NamespacedName{Namespace: w.Name, Name: botName}, bot)
	if err != nil {
		w.T.Fatal(err)
	}
	if !found {
		return nil
	}
	id := cmp.Or(bot.Spec.ChatbotID, identity.ChatbotIDOf(string(bot.UID)))
	return w.secretOf(v1alpha1.IdentityNamespace, reservation.NameOf(id).Name)
}

func (w *fixture) hmacRevision() int64 {
	w.T.Helper()
	bot := &v1alpha1.DGbotChatbot{}
	if found, err := read.Get(w.T.Context(), live, types.NamespacedName{Namespace: w.Name, Name: botName}, bot); err != nil || !found || bot.Status.Current == nil {
		return 0
	}
	return bot.Status.Current.Revision
}

// shownSuffixes returns the suffixes of the entries under which a replica shows HMAC secrets.
func shownSuffixes(replica *corev1.Secret) (suffixes []string) {
	for _, suffix := range []string{"", v1alpha1.IdentityPreviousSuffix, v1alpha1.IdentityPendingSuffix} {
		if _, ok := replica.Data[v1alpha1.IdentitySecretKey+suffix]; ok {
			suffixes = append(suffixes, suffix)
		}
	}
	return suffixes
}

// verifiesHMAC reports whether a verifier that reads the copy accepts what was signed with a secret.
func verifiesHMAC(copied *corev1.Secret, text []byte, now time.Time) bool {
	if copied == nil {
		return false
	}
	for _, suffix := range shownSuffixes(copied) {
		if string(copied.Data[v1alpha1.IdentitySecretKey+suffix]) != string(text) {
			continue
		}
		end, expires := copied.Data[v1alpha1.CopyNotAfter+suffix]
		at, err := time.Parse(time.RFC3339, string(end))
		return !expires || err == nil && now.Before(at)
	}
	return false
}

// unverified says what is wrong where the Secret holds something as the present HMAC secret that does not verify.
func (w *fixture) unverified() string {
	w.T.Helper()
	secret := w.hmacSecret()
	if secret == nil || secret.Labels[v1alpha1.ChatbotLabel] == "" {
		return ""
	}
	if text := secret.Data[v1alpha1.IdentitySecretKey]; len(text) == 64 && !verifiesHMAC(w.hmacReplica(), text, w.clock.Now()) {
		return "what is in the Secret does not verify"
	}
	return ""
}

func (w *fixture) checkHMAC(s botScenario, began int64) {
	w.T.Helper()
	if s.reason == "" {
		return
	}
	// A crash may leave a number whose secret no instance has.
	if minted := w.hmacRevision() - began; s.minted == 0 && minted != 0 && s.reason == v1alpha1.PublishedReason && w.bot(botName).Status.Current != nil ||
		s.minted > 0 && (minted < int64(s.minted) || minted > int64(s.minted)+2) {
		w.T.Errorf("revision %d became %d, want %d more", began, w.hmacRevision(), s.minted)
	}
	bot := w.bot(botName)
	if bot.Spec.IdentityVerification == nil || s.reason != v1alpha1.PublishedReason {
		return
	}
	secret, current := w.hmacSecret(), bot.Status.Current
	text := secret.Data[v1alpha1.IdentitySecretKey]
	switch {
	case current == nil || bot.Status.Pending != nil || bot.Status.Binding == nil || bot.Status.Binding.Name != secret.Name:
		w.T.Errorf("the status is %+v", bot.Status)
	case identity.Hash(text) != current.Hash, string(secret.Data[v1alpha1.IdentityKID]) != current.KID, identity.KID(text) != current.KID,
		string(secret.Data[v1alpha1.IdentityChatbotID]) != bot.Status.ChatbotID:
		w.T.Error("the Secret is not what the status says")
	case !verifiesHMAC(w.hmacReplica(), text, w.clock.Now()):
		w.T.Error("what is in the Secret does not verify")
	}
	if before := secret.Data[v1alpha1.IdentitySecretKey+v1alpha1.IdentityPreviousSuffix]; before != nil && !verifiesHMAC(w.hmacReplica(), before, w.clock.Now()) {
		w.T.Error("what is in the Secret as the previous one does not verify")
	}
}

func (w *fixture) editBot(change func(*v1alpha1.DGbotChatbot)) {
	w.T.Helper()
	bot := w.bot(botName)
	before := bot.DeepCopy()
	change(bot)
	if err := live.Patch(w.T.Context(), bot, client.MergeFrom(before)); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) editSecretOf(secret *corev1.Secret, change func(*corev1.Secret)) {
	w.T.Helper()
	change(secret)
	if err := live.Update(w.T.Context(), secret); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) deleteObject(o client.Object) {
	w.T.Helper()
	if err := live.Delete(w.T.Context(), o); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) existing(content string) {
	w.T.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: "existing"}, Data: map[string][]byte{"hmac": []byte(content)},
	}
	if err := live.Create(w.T.Context(), secret); err != nil {
		w.T.Fatal(err)
	}
}

const theirs = "a secret of sixteen bytes and more"

func importing(bot *v1alpha1.DGbotChatbot) {
	withHMAC(bot)
	bot.Spec.IdentityVerification.ImportFrom = &v1alpha1.ImportSource{Name: "existing", Key: "hmac"}
}

// leakedKey has the form of an API key.
const leakedKey = "dgbot_production_7Hq2xV0aBcD9_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1WjWYc"

// TestImportsThatCannotBe: nothing is issued, and the condition says why.
func TestImportsThatCannotBe(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"missing":      {"", "the Secret does not exist"},
		"empty":        {"-", "the entry is empty"},
		"too short":    {"fifteen bytes..", "15 bytes"},
		"not an entry": {"+", "no such entry"},
		"an API key":   {leakedKey + "\n", "the entry is an API key"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			switch tc.content {
			case "":
			case "-":
				w.existing("")
			case "+":
				w.existing("")
				w.editSecretOf(w.secretOf(w.Name, "existing"), func(s *corev1.Secret) { s.Data = map[string][]byte{"other": []byte(theirs)} })
			default:
				w.existing(tc.content)
			}
			w.createBot(botName, importing)
			w.restBots(live, botName)
			ready := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.ReadyCondition)
			if ready.Reason != v1alpha1.ImportRefusedReason || !strings.Contains(ready.Message, tc.want) || strings.Contains(ready.Message, "fifteen") || strings.Contains(ready.Message, leakedKey) {
				t.Errorf("%s: %s", ready.Reason, ready.Message)
			}
			if w.hmacSecret() != nil || w.hmacReplica() != nil || w.bot(botName).Status.Pending != nil {
				t.Error("something was issued")
			}
			if w.widget() == nil {
				t.Error("the widget waits for the HMAC secret")
			}
		})
	}
}

// TestALaterChangeOfWhatWasImported is reported, and ignored.
func TestALaterChangeOfWhatWasImported(t *testing.T) {
	w := newFixture(t)
	w.existing(theirs)
	w.createBot(botName, importing)
	w.restBots(live, botName)
	w.editSecretOf(w.secretOf(w.Name, "existing"), func(s *corev1.Secret) { s.Data["hmac"] = []byte("another secret of theirs") })
	w.restBots(live, botName)
	ignored := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.ImportIgnoredCondition)
	if ignored == nil || ignored.Reason != v1alpha1.ImportChangedReason || w.botReason(botName) != v1alpha1.PublishedReason {
		t.Errorf("%+v", ignored)
	}
	if got := string(w.hmacSecret().Data[v1alpha1.IdentitySecretKey]); got != theirs {
		t.Error("the change was taken over")
	}
	w.deleteObject(w.secretOf(w.Name, "existing"))
	w.restBots(live, botName)
	if c := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.ImportIgnoredCondition); c != nil {
		t.Errorf("%+v", c)
	}
}

// crashAfterAnnouncing lets an instance announce an HMAC secret, and nothing more: the status has its ledger, and nothing else yet. late is
// called before the instance ends, with the write of the replica that it had in mind.
func (w *fixture) crashAfterAnnouncing(late func(write func() error)) {
	w.T.Helper()
	crashing := interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, isSecret := o.(*corev1.Secret); !isSecret || o.GetNamespace() != v1alpha1.IdentityNamespace {
				return c.Create(ctx, o, options...)
			}
			if late != nil {
				late(func() error { return c.Create(ctx, o, options...) })
			}
			return errInjected
		},
	})
	_, err := w.chatbots(crashing).Reconcile(w.T.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: botName}})
	if pending := w.bot(botName).Status.Pending; !errors.Is(err, errInjected) || late == nil && pending == nil {
		w.T.Fatalf("the instance did not end after announcing: %v, pending %+v", err, pending)
	}
}

// TestASecretThatIsNoLongerWantedBeforeAnythingElseIsSaid: with its ledger the status loses all that is in it. Of such a status the API
// server makes null, and refuses it, unless the kind has a default for it.
func TestASecretThatIsNoLongerWantedBeforeAnythingElseIsSaid(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.crashAfterAnnouncing(nil)
	if err := live.Status().Patch(t.Context(), w.bot(botName), client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":null}}`))); err != nil {
		t.Fatal(err)
	}
	w.editBot(func(bot *v1alpha1.DGbotChatbot) { bot.Spec.IdentityVerification = nil })
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if s := w.bot(botName).Status; s.Pending != nil || s.ChatbotID == "" {
		t.Errorf("%+v", s)
	}
}

// TestAPendingSecretThatNoInstanceHas is given up for another one, and the instance that announced it can no longer bring it in.
func TestAPendingSecretThatNoInstanceHas(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	var announced string
	asked := false
	w.crashAfterAnnouncing(func(write func() error) {
		if asked {
			return // the same instance retries
		}
		asked, announced = true, w.bot(botName).Status.Pending.Hash
		w.restBots(live, botName) // another instance
		if err := write(); err == nil {
			t.Error("a secret that was given up got into the replica")
		}
	})
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if current := w.bot(botName).Status.Current; announced == "" || current.Hash == announced || current.Revision != 2 {
		t.Errorf("%+v, announced was %s", current, announced)
	}
}

// TestACopyThatCannotBeChanged is replaced: it is the operator's own.
func TestACopyThatCannotBeChanged(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.restBots(live, botName)
	yes := true
	w.editSecretOf(w.hmacReplica(), func(s *corev1.Secret) { s.Immutable = &yes })
	text := w.hmacSecret().Data[v1alpha1.IdentitySecretKey]
	w.revokeHMAC()
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	if copied := w.hmacReplica(); verifiesHMAC(copied, text, w.clock.Now()) || copied.Immutable != nil {
		t.Error("the revoked one verifies, or the copy is immutable")
	}
}

// TestACopyWithoutLabelsGoesAsWell when its chatbot is to have no HMAC secret any more: the cache does not know it.
func TestACopyWithoutLabelsGoesAsWell(t *testing.T) {
	w := newFixture(t)
	hmacBot(w)
	w.restBots(live, botName)
	w.editSecretOf(w.hmacReplica(), func(s *corev1.Secret) { s.Labels, s.Annotations = nil, nil })
	w.editBot(func(bot *v1alpha1.DGbotChatbot) { bot.Spec.IdentityVerification = nil })
	w.restBots(live, botName)
	if w.hmacReplica() != nil {
		t.Error("it verifies on")
	}
}

// TestAnOrphanedConfigMapIsTakenOver, as an orphaned Secret is.
func TestAnOrphanedConfigMapIsTakenOver(t *testing.T) {
	w := newFixture(t)
	w.createBot(botName, nil)
	w.restBots(live, botName)
	w.editWidget(func(m *corev1.ConfigMap) {
		m.OwnerReferences, m.Labels[v1alpha1.ChatbotLabel] = nil, "7771c11c-2610-41ab-a832-a339b9abcf1d"
	})
	w.restBots(live, botName)
	w.checkBot(v1alpha1.PublishedReason)
	// One of a chatbot that is there is not.
	w.createBot("other", nil)
	w.editWidget(func(m *corev1.ConfigMap) {
		m.OwnerReferences, m.Labels[v1alpha1.ChatbotLabel] = nil, string(w.bot("other").UID)
	})
	w.restBots(live, botName)
	if got := w.botReason(botName); got != v1alpha1.ConfigMapConflictReason {
		t.Errorf("Ready has the reason %s", got)
	}
}

// TestWhatIsImportedIsLookedAtAgain without anything else happening.
func TestWhatIsImportedIsLookedAtAgain(t *testing.T) {
	w := newFixture(t)
	w.existing(theirs)
	w.createBot(botName, importing)
	operator := w.chatbots(live)
	reconcile := func() ctrl.Result {
		t.Helper()
		result, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: botName}})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	reconcile()
	reconcile()
	w.editSecretOf(w.secretOf(w.Name, "existing"), func(s *corev1.Secret) { s.Data["hmac"] = []byte("another secret of theirs") })
	after := reconcile().RequeueAfter
	if after <= 0 || after > time.Minute {
		t.Fatalf("looked at again after %s", after)
	}
	w.advance(after)
	reconcile()
	if c := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.ImportIgnoredCondition); c == nil {
		t.Error("a change was not noticed")
	}
}
