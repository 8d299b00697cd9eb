// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientevents "k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/chatbots"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/identity"
)

const botName = "support-bot"

func (w *world) chatbots(writes client.Client) *chatbots.Reconciler {
	return &chatbots.Reconciler{Client: writes, Live: live, Recorder: clientevents.NewFakeRecorder(1000), Clock: w.clock}
}

func (w *world) createBot(name string, change func(*v1alpha1.DGbotChatbot)) {
	w.t.Helper()
	bot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.DGbotChatbotSpec{DisplayName: "Support bot", Environment: "production"},
	}
	if change != nil {
		change(bot)
	}
	if err := live.Create(w.t.Context(), bot); err != nil {
		w.t.Fatal(err)
	}
}

// adopting lets a chatbot adopt an ID that is the test's own.
func (w *world) adopting(bot *v1alpha1.DGbotChatbot) { bot.Spec.ChatbotID = w.ownID() }

func (w *world) ownID() string { return "cb_" + w.namespace }

func (w *world) bot(name string) *v1alpha1.DGbotChatbot {
	w.t.Helper()
	bot := &v1alpha1.DGbotChatbot{}
	if err := live.Get(w.t.Context(), types.NamespacedName{Namespace: w.namespace, Name: name}, bot); err != nil {
		w.t.Fatal(err)
	}
	return bot
}

func (w *world) deleteBot(name string) {
	w.t.Helper()
	if err := live.Delete(w.t.Context(), w.bot(name)); err != nil {
		w.t.Fatal(err)
	}
}

// configMap returns the one of a name; nil where there is none.
func (w *world) configMap(namespace, name string) *corev1.ConfigMap {
	w.t.Helper()
	m := &corev1.ConfigMap{}
	found, err := read.Get(w.t.Context(), live, types.NamespacedName{Namespace: namespace, Name: name}, m)
	if err != nil {
		w.t.Fatal(err)
	}
	if !found {
		return nil
	}
	return m
}

func (w *world) widget() *corev1.ConfigMap {
	w.t.Helper()
	return w.configMap(w.namespace, botName+"-widget")
}

// lock returns the claim of an ID; nil where there is none.
func (w *world) lock(id string) *corev1.ConfigMap {
	w.t.Helper()
	return w.configMap(v1alpha1.IdentityNamespace, reservation.NameOf(id).Name)
}

func (w *world) editWidget(change func(*corev1.ConfigMap)) {
	w.t.Helper()
	m := w.widget()
	change(m)
	if err := live.Update(w.t.Context(), m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) botReason(name string) string {
	w.t.Helper()
	ready := apimeta.FindStatusCondition(w.bot(name).Status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil {
		return "none"
	}
	return ready.Reason
}

// restBots brings chatbots to rest, whether they are there or not.
func (w *world) restBots(writes client.Client, names ...string) {
	w.t.Helper()
	w.restBotsWith(w.chatbots(writes), names...)
}

func (w *world) restBotsWith(operator *chatbots.Reconciler, names ...string) {
	w.t.Helper()
	for _, name := range names {
		for turn := 0; ; turn++ {
			result, err := operator.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: name}})
			if errors.Is(err, errInjected) {
				continue
			}
			if err != nil || turn > 20 {
				w.t.Fatalf("%s does not come to rest: %v", name, err)
			}
			if result.RequeueAfter != write.YieldDelay {
				break
			}
		}
	}
}

// botScenario is something that happens to a chatbot at rest, and what must have come of it.
type botScenario struct {
	prepare, happen func(*world)
	// bots are those that are reconciled.
	bots []string
	// interrupts: what happens ends the HMAC secret in use, so that it need not verify on the way.
	interrupts bool
	// minted is how many HMAC secrets are issued because of it.
	minted int
	// unclaims: what happens takes the claim away, so that it may be missing on the way.
	unclaims bool
	// reason is that of Ready of support-bot; empty where it is gone.
	reason string
	check  func(*world)
	// unreadable are reads that fail until the operator has come to rest; nil for none.
	unreadable func(*world) readOf
	// unread checks what the operator has done without them.
	unread func(*world)
}

func plainBot(w *world) { w.createBot(botName, nil) }

var botScenarios = map[string]botScenario{
	"a chatbot is created": {
		prepare: func(*world) {}, happen: plainBot,
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
	},
	"a chatbot adopts an ID": {
		prepare: func(*world) {}, happen: func(w *world) { w.createBot(botName, w.adopting) },
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *world) {
			if got := w.bot(botName).Status.ChatbotID; got != w.ownID() {
				w.t.Errorf("its ID is %q", got)
			}
		},
	},
	"the script changes": {
		prepare: plainBot,
		happen: func(w *world) {
			bot := w.bot(botName)
			bot.Spec.Widget = &v1alpha1.WidgetSpec{ScriptURL: "https://cdn.example.com/w.js?a=1&b=2"}
			if err := live.Update(w.t.Context(), bot); err != nil {
				w.t.Fatal(err)
			}
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *world) {
			if got := w.widget().Data[v1alpha1.WidgetSnippet]; !strings.Contains(got, `src="https://cdn.example.com/w.js?a=1&amp;b=2"`) {
				w.t.Errorf("the snippet is %s", got)
			}
		},
	},
	"the ConfigMap is altered, and gets an entry of somebody's": {
		prepare: plainBot,
		happen: func(w *world) {
			w.editWidget(func(m *corev1.ConfigMap) {
				m.OwnerReferences, m.Data[v1alpha1.WidgetChatbotID], m.Data["theirs"] = nil, "cb_other", "stays"
			})
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *world) {
			if m := w.widget(); len(m.OwnerReferences) != 1 || m.Data["theirs"] != "stays" {
				w.t.Errorf("%+v", m)
			}
		},
	},
	"the ConfigMap is deleted": {
		prepare: plainBot,
		happen: func(w *world) {
			if err := live.Delete(w.t.Context(), w.widget()); err != nil {
				w.t.Fatal(err)
			}
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
	},
	"the chatbot is deleted": {
		prepare: func(w *world) { w.createBot(botName, w.adopting) },
		happen:  func(w *world) { w.deleteBot(botName) },
		bots:    []string{botName},
		check: func(w *world) {
			if w.lock(w.ownID()) != nil {
				w.t.Error("its ID is still claimed")
			}
		},
	},
	"another one takes the ID over when its holder is gone": {
		prepare: func(w *world) { w.createBot("first", w.adopting) },
		happen: func(w *world) {
			w.deleteBot("first")
			w.createBot(botName, w.adopting)
		},
		bots: []string{botName, "first"}, reason: v1alpha1.PublishedReason,
	},
	"another one wants the same ID": {
		prepare: func(w *world) { w.createBot("first", w.adopting) },
		happen:  func(w *world) { w.createBot(botName, w.adopting) },
		bots:    []string{botName, "first"}, reason: v1alpha1.ChatbotIDConflictReason,
		check: func(w *world) {
			if w.widget() != nil || w.bot(botName).Status.ChatbotID != "" || w.botReason("first") != v1alpha1.PublishedReason {
				w.t.Error("the second has something, or the first has lost something")
			}
		},
	},
	"the claim is deleted while another one waits for the ID": {
		prepare: func(w *world) {
			w.createBot(botName, w.adopting)
			w.restBots(live, botName)
			w.createBot("second", w.adopting)
		},
		happen: func(w *world) {
			if err := live.Delete(w.t.Context(), w.lock(w.ownID())); err != nil {
				w.t.Fatal(err)
			}
		},
		bots: []string{"second", botName}, unclaims: true, reason: v1alpha1.PublishedReason,
		check: func(w *world) {
			if got := w.botReason("second"); got != v1alpha1.ChatbotIDConflictReason {
				w.t.Errorf("the second is %s", got)
			}
		},
	},
	"the name of its ConfigMap is taken": {
		prepare: func(w *world) {
			m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: botName + "-widget"}, Data: map[string]string{"a": "b"}}
			if err := live.Create(w.t.Context(), m); err != nil {
				w.t.Fatal(err)
			}
		},
		happen: plainBot,
		bots:   []string{botName}, reason: v1alpha1.ConfigMapConflictReason,
		check: func(w *world) {
			if m := w.widget(); !maps.Equal(m.Data, map[string]string{"a": "b"}) || len(m.Labels)+len(m.OwnerReferences) > 0 {
				w.t.Errorf("somebody's ConfigMap is now %+v", m)
			}
		},
	},
}

// TestChatbotCrashMatrix breaks every write of every scenario in every way, and asserts that nothing is lost, claimed twice or
// left behind.
func TestChatbotCrashMatrix(t *testing.T) {
	maps.Copy(botScenarios, hmacScenarios)
	crashMatrix(t, slices.Sorted(maps.Keys(botScenarios)), func(t *testing.T, name string, f *faults, how interruption) {
		runBotScenario(t, botScenarios[name], f, how)
	}, func(file string) bool {
		return strings.HasPrefix(file, "chatbots/") || file == "internal/write/status.go"
	})
}

func runBotScenario(t *testing.T, s botScenario, f *faults, how interruption) {
	w := newWorld(t)
	s.prepare(w)
	others := slices.Clone(s.bots)
	slices.Reverse(others)
	w.restBots(live, others...)
	s.happen(w)
	second := func() { w.restBots(live, s.bots...) }
	switch how {
	case doubled:
		f.before = second
	case doubleAfter:
		f.before, f.after = func() {}, second
	}
	f.each = func(what string) {
		// Whatever is published is the chatbot's own.
		if shown := w.unverified(); shown != "" && !s.interrupts {
			t.Errorf("after %q %s", what, shown)
		}
		if m := w.widget(); m != nil && m.Labels[v1alpha1.ChatbotLabel] != "" && m.Data[v1alpha1.WidgetChatbotID] != "cb_other" {
			if lock := w.lock(m.Data[v1alpha1.WidgetChatbotID]); lock == nil && s.reason != "" && !s.unclaims {
				t.Errorf("after %q an ID is published that nobody has claimed", what)
			}
		}
	}
	began := w.hmacRevision()
	if s.unreadable != nil {
		operator := w.chatbots(f.wrap(live))
		operator.Client, operator.Live = failingReads(operator.Client, s.unreadable(w)), failingReads(live, s.unreadable(w))
		w.restBotsWith(operator, s.bots...)
		s.unread(w)
		w.restBots(live, s.bots...)
	} else {
		w.restBots(f.wrap(live), s.bots...)
	}
	if s.reason != "" {
		w.checkBot(s.reason)
	}
	w.checkHMAC(s, began)
	if s.check != nil {
		s.check(w)
	}
	idle := &faults{}
	w.restBots(idle.wrap(live), s.bots...)
	if idle.writes != 0 {
		t.Errorf("a restarted operator wrote %d times: %v", idle.writes, idle.sites)
	}
}

func (w *world) checkBot(reason string) {
	w.t.Helper()
	bot := w.bot(botName)
	if got := w.botReason(botName); got != reason {
		w.t.Errorf("Ready has the reason %s, want %s", got, reason)
	}
	if reason != v1alpha1.PublishedReason {
		return
	}
	id := bot.Status.ChatbotID
	if want := identity.ChatbotIDOf(string(bot.UID)); bot.Spec.ChatbotID == "" && id != want {
		w.t.Errorf("its ID is %q, want %q", id, want)
	}
	if lock := w.lock(id); lock == nil || lock.Data[reservation.EntryUID] != string(bot.UID) {
		w.t.Errorf("the claim of %s is %+v", id, lock)
	}
	m := w.widget()
	if m == nil || m.Data[v1alpha1.WidgetChatbotID] != id || !strings.Contains(m.Data[v1alpha1.WidgetSnippet], fmt.Sprintf("data-chatbot-id=%q", id)) {
		w.t.Errorf("published is %+v", m)
	}
}
