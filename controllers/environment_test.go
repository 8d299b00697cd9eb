// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientevents "k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/environments"
)

// environment is one of the test's own; keys are to be of it. It is gone after the test.
func (w *fixture) environment(change func(*v1alpha1.DGbotEnvironmentSpec)) string {
	w.T.Helper()
	env := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: w.Name}}
	change(&env.Spec)
	if err := live.Create(w.T.Context(), env); err != nil {
		w.T.Fatal(err)
	}
	return env.Name
}

func (w *fixture) changeRules(change func(*v1alpha1.DGbotEnvironmentSpec)) {
	w.T.Helper()
	env := &v1alpha1.DGbotEnvironment{}
	if err := live.Get(w.T.Context(), types.NamespacedName{Name: w.Name}, env); err != nil {
		w.T.Fatal(err)
	}
	change(&env.Spec)
	if err := live.Update(w.T.Context(), env); err != nil {
		w.T.Fatal(err)
	}
}

func (w *fixture) ofEnvironment(name string) func(*v1alpha1.DGbotAPIKey) {
	return func(k *v1alpha1.DGbotAPIKey) { k.Spec.Environment = name }
}

// restOf brings another key of the namespace to rest.
func (w *fixture) restOf(name string) *v1alpha1.DGbotAPIKey {
	w.T.Helper()
	w.advance(time.Minute) // until all of its second are counted
	key := &v1alpha1.DGbotAPIKey{}
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.Name, Name: name}}
	if _, err := w.operator(live).Reconcile(w.T.Context(), request); err != nil {
		w.T.Fatal(err)
	}
	if err := live.Get(w.T.Context(), request.NamespacedName, key); err != nil {
		w.T.Fatal(err)
	}
	return key
}

func readyOf(key *v1alpha1.DGbotAPIKey) *metav1.Condition {
	return apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
}

// TestRulesOfAnEnvironment are kept to, from the labels of the namespace to the age of other keys.
func TestRulesOfAnEnvironment(t *testing.T) {
	w := newFixture(t)
	limit := int32(2)
	env := w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) {
		s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "crm"}}
		s.MaxKeysPerNamespace, s.OneKeyPerChatbot = &limit, true
		s.Rotation = &v1alpha1.EnvironmentRotation{MaxInterval: &metav1.Duration{Duration: 240 * time.Hour}}
	})
	w.create(w.ofEnvironment(env))
	w.rest()
	if ready := w.ready(); ready.Reason != v1alpha1.EnvironmentPolicyReason || !strings.Contains(ready.Message, "team=crm") || len(w.records()) != 0 || w.secret() != nil {
		t.Fatalf("%s: %s", ready.Reason, ready.Message)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Name}}
	if err := live.Patch(t.Context(), namespace, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"crm"}}}`))); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Minute)
	w.rest()
	if ready := w.ready(); ready.Status != metav1.ConditionTrue || w.key().Status.NextRotationAt == nil {
		t.Fatalf("%s: %s, next rotation at %s", ready.Reason, ready.Message, w.key().Status.NextRotationAt)
	}

	bot := func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} }
	w.createBot("bot", func(c *v1alpha1.DGbotChatbot) { c.Spec.Environment = env })
	w.restBots(live, "bot")
	oldest := w.key().CreationTimestamp
	later := func(context.Context) (bool, error) { return time.Since(oldest.Time) > time.Second, nil }
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, later); err != nil {
		t.Fatal(err) // keys of one second are as old as one another
	}
	w.edit(bot)
	for i, change := range []func(*v1alpha1.DGbotAPIKey){bot, nil, nil} {
		key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: w.Name, Name: fmt.Sprintf("key-%d", i)},
			Spec: v1alpha1.DGbotAPIKeySpec{Label: "Another", Environment: env}}
		if change != nil {
			change(key)
		}
		if err := live.Create(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	blocked := map[string]string{}
	for i := range 3 {
		name := fmt.Sprintf("key-%d", i)
		if ready := readyOf(w.restOf(name)); ready.Reason == v1alpha1.EnvironmentPolicyReason {
			blocked[name] = ready.Message
		}
	}
	if !strings.Contains(blocked["key-0"], `oneKeyPerChatbot allows 1`) {
		t.Errorf("the second key of the chatbot: %q", blocked["key-0"])
	}
	counted := 0
	for _, message := range blocked {
		if strings.Contains(message, "maxKeysPerNamespace is 2") {
			counted++
		}
	}
	if counted != 2 {
		t.Errorf("%d of four keys are too many: %v", counted, blocked)
	}
	// The oldest goes: the next ones move up. Which they are, their uids decide: they are of one second, perhaps.
	if err := live.Delete(t.Context(), w.key()); err != nil {
		t.Fatal(err)
	}
	counted = 0
	for i := range 3 {
		if ready := readyOf(w.restOf(fmt.Sprintf("key-%d", i))); ready.Status == metav1.ConditionTrue {
			counted++
		} else if !strings.Contains(ready.Message, "key 3 by age") {
			t.Errorf("%s: %s", ready.Reason, ready.Message)
		}
	}
	if counted != 2 {
		t.Errorf("after the first has gone, %d of three are Ready", counted)
	}
}

// TestRulesThatComeLater hold a key, and take nothing from it.
func TestRulesThatComeLater(t *testing.T) {
	w := newFixture(t)
	w.create(w.ofEnvironment(w.Name))
	w.rest()
	text := string(w.secret().Data[v1alpha1.DefaultSecretKey])
	w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"reports.*"} })
	idle := &faults{}
	w.restWith(w.operator(idle.wrap(live)))
	violation := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.PolicyViolationCondition)
	if violation == nil || !strings.Contains(violation.Message, "conversations.read") || w.ready().Status != metav1.ConditionTrue || idle.writes != 1 {
		t.Fatalf("%+v after %d writes", violation, idle.writes)
	}
	if string(w.secret().Data[v1alpha1.DefaultSecretKey]) != text {
		t.Error("the key was replaced")
	}
	w.changeRules(func(s *v1alpha1.DGbotEnvironmentSpec) { s.AllowedScopes = []v1alpha1.Scope{"*"} })
	w.rest()
	if apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.PolicyViolationCondition) != nil {
		t.Error("it is said to break a rule that it keeps")
	}
}

// TestTheStatusOfAnEnvironment sums up its keys, and says what of its rules cannot be kept to.
func TestTheStatusOfAnEnvironment(t *testing.T) {
	w := newFixture(t)
	w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) {
		s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "none"}}
	})
	w.create(w.ofEnvironment(w.Name))
	w.rest()
	operator := &environments.Reconciler{Client: live, Recorder: clientevents.NewFakeRecorder(10), Clock: w.clock}
	env := func() *v1alpha1.DGbotEnvironmentStatus {
		t.Helper()
		name := types.NamespacedName{Name: w.Name}
		if _, err := operator.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
			t.Fatal(err)
		}
		env := &v1alpha1.DGbotEnvironment{}
		if err := live.Get(t.Context(), name, env); err != nil {
			t.Fatal(err)
		}
		return &env.Status
	}
	s := env()
	if s.Keys != 1 || s.Violating != 1 || !apimeta.IsStatusConditionTrue(s.Conditions, v1alpha1.SelectsNothingCondition) || !apimeta.IsStatusConditionTrue(s.Conditions, v1alpha1.ReadyCondition) {
		t.Errorf("%+v", s)
	}
	version := func() string {
		env := &v1alpha1.DGbotEnvironment{}
		if err := live.Get(t.Context(), types.NamespacedName{Name: w.Name}, env); err != nil {
			t.Fatal(err)
		}
		return env.ResourceVersion
	}
	before := version()
	if env(); version() != before {
		t.Error("an unchanged environment was written")
	}
	w.changeRules(func(s *v1alpha1.DGbotEnvironmentSpec) { s.NamespaceSelector = nil })
	w.rest()
	if s = env(); s.Violating != 0 || apimeta.FindStatusCondition(s.Conditions, v1alpha1.SelectsNothingCondition) != nil {
		t.Errorf("%+v", s)
	}
}
