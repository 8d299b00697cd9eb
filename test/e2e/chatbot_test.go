// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

func (p *place) applyBot(name, adopts string) {
	p.T.Helper()
	bot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name},
		Spec:       v1alpha1.DGbotChatbotSpec{DisplayName: "Support bot", Environment: "production", ChatbotID: adopts},
	}
	must(p.T, admin.Create(p.T.Context(), bot))
}

// bot waits until a chatbot's Ready has a reason, and returns the chatbot.
func (p *place) bot(name, reason string) *v1alpha1.DGbotChatbot {
	p.T.Helper()
	bot := &v1alpha1.DGbotChatbot{}
	p.Eventually(name+" is "+reason, func() bool {
		must(p.T, admin.Get(p.T.Context(), types.NamespacedName{Namespace: p.Name, Name: name}, bot))
		ready := apimeta.FindStatusCondition(bot.Status.Conditions, v1alpha1.ReadyCondition)
		return ready != nil && ready.Reason == reason
	})
	return bot
}

// reservations counts those of the place's chatbots.
func (p *place) reservations() int {
	p.T.Helper()
	var reservations corev1.ConfigMapList
	must(p.T, admin.List(p.T.Context(), &reservations, client.InNamespace(v1alpha1.IdentityNamespace)))
	n := 0
	for _, reserved := range reservations.Items {
		if reserved.Data["namespace"] == p.Name {
			n++
		}
	}
	return n
}

// replicas counts those of the place's chatbots.
func (p *place) replicas() int {
	p.T.Helper()
	var replicas corev1.SecretList
	must(p.T, admin.List(p.T.Context(), &replicas, client.InNamespace(v1alpha1.IdentityNamespace)))
	n := 0
	for _, replica := range replicas.Items {
		if string(replica.Data[v1alpha1.CopyNamespace]) == p.Name {
			n++
		}
	}
	return n
}

// healHMACSecret gives a chatbot an HMAC secret, then deletes and alters the Secret and the replica.
func (p *place) healHMACSecret(name string) {
	p.T.Helper()
	bot := &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name}}
	must(p.T, admin.Patch(p.T.Context(), bot, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"identityVerification":{}}}`))))
	published := types.NamespacedName{Namespace: p.Name, Name: name + "-identity"}
	replica := types.NamespacedName{Namespace: v1alpha1.IdentityNamespace}
	read := func(name types.NamespacedName) (text string) {
		secret := &corev1.Secret{}
		if err := admin.Get(p.T.Context(), name, secret); !apierrors.IsNotFound(err) {
			must(p.T, err)
		}
		return string(secret.Data[v1alpha1.IdentitySecretKey])
	}
	p.Eventually("it has an HMAC secret", func() bool { return read(published) != "" })
	text := read(published)
	world.Remember(text)
	var replicas corev1.SecretList
	must(p.T, admin.List(p.T.Context(), &replicas, client.InNamespace(v1alpha1.IdentityNamespace)))
	for _, secret := range replicas.Items {
		if string(secret.Data[v1alpha1.CopyNamespace]) == p.Name && string(secret.Data[v1alpha1.CopyName]) == name {
			replica.Name = secret.Name
		}
	}
	for _, name := range []types.NamespacedName{published, replica} {
		gone := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
		must(p.T, admin.Delete(p.T.Context(), gone))
		p.Eventually(name.String()+" is written again", func() bool { return read(name) == text })
		must(p.T, admin.Patch(p.T.Context(), gone, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null},"data":{"hmac-secret":"anVuaw=="}}`))))
		p.Eventually(name.String()+" is restored", func() bool { return read(name) == text })
	}
	must(p.T, admin.Get(p.T.Context(), client.ObjectKeyFromObject(bot), bot))
	if revision := bot.Status.Current.Revision; revision != 1 {
		p.T.Errorf("that took %d revisions", revision)
	}
}

// TestAChatbotsWholeLife, with watches alone to tell the operator what has happened.
func TestAChatbotsWholeLife(t *testing.T) {
	operator := startOperator(t)
	p := newPlace(t)
	p.CreateKey("key", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} })
	p.AwaitNotReady("key", v1alpha1.WaitingForChatbotReason)
	p.applyBot("bot", "")
	id := p.bot("bot", v1alpha1.PublishedReason).Status.ChatbotID
	p.AwaitReady("key")
	if records := p.Records("key"); len(records) != 1 || records[0].Spec.ChatbotID != id || string(p.Secret("key").Data[v1alpha1.SecretChatbotID]) != id {
		t.Errorf("the key does not have chatbot ID %s: %+v", id, records)
	}
	widget := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "bot-widget"}}
	// The label is how the operator finds it: without it, the ConfigMap is as good as gone from its cache.
	must(t, admin.Patch(t.Context(), widget, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null},"data":{"chatbot-id":"cb_other"}}`))))
	p.Eventually("the ConfigMap is restored", func() bool {
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(widget), widget))
		return widget.Data[v1alpha1.WidgetChatbotID] == id && widget.Labels[v1alpha1.ManagedByLabel] != ""
	})

	p.applyBot("first", "cb_"+p.Name)
	p.bot("first", v1alpha1.PublishedReason)
	p.applyBot("second", "cb_"+p.Name)
	p.bot("second", v1alpha1.ChatbotIDConflictReason)
	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "first"}}))
	p.bot("second", v1alpha1.PublishedReason)
	p.healHMACSecret("bot")

	must(t, operator.Stop())
	must(t, admin.DeleteAllOf(t.Context(), &v1alpha1.DGbotChatbot{}, client.InNamespace(p.Name)))
	p.Eventually("the ConfigMaps are collected", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKeyFromObject(widget), &corev1.ConfigMap{}))
	})
	if n := p.reservations(); n != 2 {
		t.Errorf("%d reservations while no operator runs, want those of two chatbots", n)
	}
	if n := p.replicas(); n != 1 {
		t.Errorf("%d replicas of HMAC secrets while no operator runs, want one", n)
	}
	startOperator(t)
	p.Eventually("the reservations of deleted chatbots are released", func() bool { return p.reservations() == 0 && p.replicas() == 0 })
	p.AwaitReady("key")
	if records := p.Records("key"); len(records) != 1 || records[0].Spec.ChatbotID != id {
		t.Errorf("the key has changed with its chatbot gone: %+v", records)
	}
}

// TestChatbotID_GoesWithItsReservation: the reservation alone wakes the keys that still have the ID.
func TestChatbotID_GoesWithItsReservation(t *testing.T) {
	startOperator(t)
	p, other := newPlace(t), newPlace(t)
	id := "cb_" + p.Name
	p.applyBot("bot", id)
	p.bot("bot", v1alpha1.PublishedReason)
	p.CreateKey("key", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} })
	p.AwaitReady("key")
	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "bot"}}))
	p.Eventually("the reservation is released", func() bool { return p.reservations() == 0 })
	if records := p.Records("key"); len(records) != 1 || records[0].Spec.ChatbotID != id {
		t.Fatalf("the key does not keep the ID of its chatbot: %+v", records)
	}
	other.applyBot("taker", id)
	other.bot("taker", v1alpha1.PublishedReason)
	p.Eventually("the key loses the ID", func() bool {
		records := p.Records("key")
		return len(records) == 1 && records[0].Spec.ChatbotID == "" && p.Secret("key").Data[v1alpha1.SecretChatbotID] == nil
	})
	p.AwaitReady("key")
}
