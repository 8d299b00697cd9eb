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

func (w *fixture) chatbots(writes client.Client) *chatbots.Reconciler {
	return &chatbots.Reconciler{Client: writes, Live: live, Recorder: clientevents.NewFakeRecorder(1000), Clock: w.clock}
}

func (w *fixture) createBot(name string, change func(*v1alpha1.DGbotChatbot)) {
	w.T.Helper()
	bot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: name},
		Spec:       v1alpha1.DGbotChatbotSpec{DisplayName: "Support bot", Environment: "production"},
	}
	if change != nil {
		change(bot)
	}
	if err := live.Create(w.T.Context(), bot); err != nil {
		w.T.Fatal(err)
	}
}

// adopting lets a chatbot adopt an ID that is the test's own.
func (w *fixture) adopting(bot *v1alpha1.DGbotChatbot) { bot.Spec.ChatbotID = w.ownID() }

func (w *fixture) ownID() string { return "cb_" + w.Name }

func (w *fixture) bot(name string) *v1alpha1.DGbotChatbot {
	w.T.Helper()
	bot := &v1alpha1.DGbotChatbot{}
	if err := live.Get(w.T.Context(), types.NamespacedName{Namespace: w.Name, Name: name}, bot); err != nil {
		w.T.Fatal(err)
	}
	return bot
}

func (w *fixture) deleteBot(name string) {
	w.T.Helper()
	if err := live.Delete(w.T.Context(), w.bot(name)); err != nil {
		w.T.Fatal(err)
	}
}

// configMap returns the one of a name; nil where there is none.
func (w *fixture) configMap(namespace, name string) *corev1.ConfigMap {
	w.T.Helper()
	m := &corev1.ConfigMap{}
	found, err := read.Get(w.T.Context(), live, types.NamespacedName{Namespace: namespace, Name: name}, m)
	if err != nil {
		w.T.Fatal(err)
	}
	if !found {
		return nil
	}
	return m
}

func (w *fixture) widget() *corev1.ConfigMap {
	w.T.Helper()
	return w.configMap(w.Name, botName+"-widget")
}

// reservationOf returns the reservation of an ID, or nil if there is none.
func (w *fixture) reservationOf(id string) *corev1.ConfigMap {
	w.T.Helper()
	return w.configMap(v1alpha1.IdentityNamespace, reservation.NameOf(id).Name)
}

func (w *fixture) editWidget(change func(*corev1.ConfigMap)) {
	w.T.Helper()
	m := w.widget()
	change(m)
	if err := live.Update(w.T.Context(), m); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) botReason(name string) string {
	w.T.Helper()
	ready := apimeta.FindStatusCondition(w.bot(name).Status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil {
		return "none"
	}
	return ready.Reason
}

// restBots brings chatbots to rest, whether they are there or not.
func (w *fixture) restBots(writes client.Client, names ...string) {
	w.T.Helper()
	w.restBotsWith(w.chatbots(writes), names...)
}

func (w *fixture) restBotsWith(operator *chatbots.Reconciler, names ...string) {
	w.T.Helper()
	for _, name := range names {
		for turn := 0; ; turn++ {
			result, err := operator.Reconcile(w.T.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: name}})
			if errors.Is(err, errInjected) {
				continue
			}
			if err != nil || turn > 20 {
				w.T.Fatalf("%s does not converge: %v", name, err)
			}
			if result.RequeueAfter != write.YieldDelay {
				break
			}
		}
	}
}

// botScenario is something that happens to a chatbot at rest, and what must have come of it.
type botScenario struct {
	prepare, happen func(*fixture)
	// bots are those that are reconciled.
	bots []string
	// interrupts: what happens ends the HMAC secret in use, so that it need not verify on the way.
	interrupts bool
	// minted is how many HMAC secrets are issued because of it.
	minted int
	// unreserves: what happens deletes the reservation, so that it may be missing on the way.
	unreserves bool
	// reason is that of Ready of support-bot; empty where it is gone.
	reason string
	check  func(*fixture)
	// unreadable are reads that fail until the operator has converge; nil for none.
	unreadable func(*fixture) readOf
	// unread checks what the operator has done without them.
	unread func(*fixture)
}

func plainBot(w *fixture) { w.createBot(botName, nil) }

var botScenarios = map[string]botScenario{
	"a chatbot is created": {
		prepare: func(*fixture) {}, happen: plainBot,
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
	},
	"a chatbot adopts an ID": {
		prepare: func(*fixture) {}, happen: func(w *fixture) { w.createBot(botName, w.adopting) },
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if got := w.bot(botName).Status.ChatbotID; got != w.ownID() {
				w.T.Errorf("its ID is %q", got)
			}
		},
	},
	"the script changes": {
		prepare: plainBot,
		happen: func(w *fixture) {
			bot := w.bot(botName)
			bot.Spec.Widget = &v1alpha1.WidgetSpec{ScriptURL: "https://cdn.example.com/w.js?a=1&b=2"}
			if err := live.Update(w.T.Context(), bot); err != nil {
				w.T.Fatal(err)
			}
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if got := w.widget().Data[v1alpha1.WidgetSnippet]; !strings.Contains(got, `src="https://cdn.example.com/w.js?a=1&amp;b=2"`) {
				w.T.Errorf("the snippet is %s", got)
			}
		},
	},
	"the ConfigMap is altered, and gets an entry of a user": {
		prepare: plainBot,
		happen: func(w *fixture) {
			w.editWidget(func(m *corev1.ConfigMap) {
				m.OwnerReferences, m.Data[v1alpha1.WidgetChatbotID], m.Data["theirs"] = nil, "cb_other", "stays"
			})
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if m := w.widget(); len(m.OwnerReferences) != 1 || m.Data["theirs"] != "stays" {
				w.T.Errorf("%+v", m)
			}
		},
	},
	"the ConfigMap is deleted": {
		prepare: plainBot,
		happen: func(w *fixture) {
			if err := live.Delete(w.T.Context(), w.widget()); err != nil {
				w.T.Fatal(err)
			}
		},
		bots: []string{botName}, reason: v1alpha1.PublishedReason,
	},
	"the chatbot is deleted": {
		prepare: func(w *fixture) { w.createBot(botName, w.adopting) },
		happen:  func(w *fixture) { w.deleteBot(botName) },
		bots:    []string{botName},
		check: func(w *fixture) {
			if w.reservationOf(w.ownID()) != nil {
				w.T.Error("its ID is still reserved")
			}
		},
	},
	"another one takes the ID over when its holder is gone": {
		prepare: func(w *fixture) { w.createBot("first", w.adopting) },
		happen: func(w *fixture) {
			w.deleteBot("first")
			w.createBot(botName, w.adopting)
		},
		bots: []string{botName, "first"}, reason: v1alpha1.PublishedReason,
	},
	"another one wants the same ID": {
		prepare: func(w *fixture) { w.createBot("first", w.adopting) },
		happen:  func(w *fixture) { w.createBot(botName, w.adopting) },
		bots:    []string{botName, "first"}, reason: v1alpha1.ChatbotIDConflictReason,
		check: func(w *fixture) {
			if w.widget() != nil || w.bot(botName).Status.ChatbotID != "" || w.botReason("first") != v1alpha1.PublishedReason {
				w.T.Error("the second has something, or the first has lost something")
			}
		},
	},
	"the reservation is deleted while another chatbot waits for the ID": {
		prepare: func(w *fixture) {
			w.createBot(botName, w.adopting)
			w.restBots(live, botName)
			w.createBot("second", w.adopting)
		},
		happen: func(w *fixture) {
			if err := live.Delete(w.T.Context(), w.reservationOf(w.ownID())); err != nil {
				w.T.Fatal(err)
			}
		},
		bots: []string{"second", botName}, unreserves: true, reason: v1alpha1.PublishedReason,
		check: func(w *fixture) {
			if got := w.botReason("second"); got != v1alpha1.ChatbotIDConflictReason {
				w.T.Errorf("the second is %s", got)
			}
		},
	},
	"the name of its ConfigMap is taken": {
		prepare: func(w *fixture) {
			m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: botName + "-widget"}, Data: map[string]string{"a": "b"}}
			if err := live.Create(w.T.Context(), m); err != nil {
				w.T.Fatal(err)
			}
		},
		happen: plainBot,
		bots:   []string{botName}, reason: v1alpha1.ConfigMapConflictReason,
		check: func(w *fixture) {
			if m := w.widget(); !maps.Equal(m.Data, map[string]string{"a": "b"}) || len(m.Labels)+len(m.OwnerReferences) > 0 {
				w.T.Errorf("a user's ConfigMap is now %+v", m)
			}
		},
	},
}

// TestChatbotCrashMatrix breaks every write of every scenario in every way, and asserts that nothing is lost, reserved twice or
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
	w := newFixture(t)
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
			if reserved := w.reservationOf(m.Data[v1alpha1.WidgetChatbotID]); reserved == nil && s.reason != "" && !s.unreserves {
				t.Errorf("after %q an ID is published that no chatbot has reserved", what)
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

func (w *fixture) checkBot(reason string) {
	w.T.Helper()
	bot := w.bot(botName)
	if got := w.botReason(botName); got != reason {
		w.T.Errorf("Ready has the reason %s, want %s", got, reason)
	}
	if reason != v1alpha1.PublishedReason {
		return
	}
	id := bot.Status.ChatbotID
	if want := identity.ChatbotIDOf(string(bot.UID)); bot.Spec.ChatbotID == "" && id != want {
		w.T.Errorf("its ID is %q, want %q", id, want)
	}
	if reserved := w.reservationOf(id); reserved == nil || reserved.Data[reservation.EntryUID] != string(bot.UID) {
		w.T.Errorf("the reservation of %s is %+v", id, reserved)
	}
	m := w.widget()
	if m == nil || m.Data[v1alpha1.WidgetChatbotID] != id || !strings.Contains(m.Data[v1alpha1.WidgetSnippet], fmt.Sprintf("data-chatbot-id=%q", id)) {
		w.T.Errorf("published is %+v", m)
	}
}
