// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestWakeChatbots_WakesTheOwnerFirst: of the chatbots that name a Secret or a ConfigMap only its owner is woken by every change of it.
func TestWakeChatbots_WakesTheOwnerFirst(t *testing.T) {
	w := newWorld(t)
	uids := map[string]types.UID{}
	for _, name := range []string{"owner", "other", "third"} {
		w.createBot(name, func(bot *v1alpha1.DGbotChatbot) {
			withHMAC(bot)
			bot.Spec.IdentityVerification.Secret = &v1alpha1.IdentitySecretSpec{Name: "shared"}
			bot.Spec.Widget = &v1alpha1.WidgetSpec{ConfigMapName: "shared"}
		})
		uids[name] = w.bot(name).UID
	}
	w.createBot("elsewhere", nil)
	for kind, empty := range map[string]func() client.Object{
		"Secret":    func() client.Object { return metadataOf("Secret") },
		"ConfigMap": func() client.Object { return &corev1.ConfigMap{} },
	} {
		version := func(uid types.UID, resourceVersion string, owners ...metav1.OwnerReference) client.Object {
			object := empty()
			object.SetNamespace(w.namespace)
			object.SetName("shared")
			object.SetResourceVersion(resourceVersion)
			object.SetLabels(map[string]string{v1alpha1.ChatbotLabel: string(uid)})
			object.SetOwnerReferences(owners)
			return object
		}
		another := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}
		for name, test := range map[string]struct {
			before, after client.Object
			now, later    int
		}{
			"created":                     {nil, version(uids["owner"], "7"), 1, 2},
			"touched":                     {version(uids["owner"], "7"), version(uids["owner"], "8"), 1, 0},
			"moved to another chatbot":    {version(uids["owner"], "7"), version(uids["other"], "8"), 2, 1},
			"foreign and touched":         {version("another", "7", another), version("another", "8", another), 0, 0},
			"foreign, another owner":      {version("another", "7"), version("another", "8", another), 0, 3},
			"no longer the chatbot's own": {version(uids["owner"], "7"), version("another", "8"), 1, 2},
			"gone":                        {version("another", "7"), nil, 3, 0},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				queue, wake := &recordingQueue{now: map[string]bool{}, later: map[string]bool{}}, w.chatbots(live).wakeChatbots()
				switch {
				case test.before == nil:
					wake.Create(t.Context(), event.CreateEvent{Object: test.after}, queue)
				case test.after == nil:
					wake.Delete(t.Context(), event.DeleteEvent{Object: test.before}, queue)
				default:
					wake.Update(t.Context(), event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}, queue)
				}
				if len(queue.now) != test.now || len(queue.later) != test.later {
					t.Errorf("woken at once: %v, later: %v; want %d and %d", queue.now, queue.later, test.now, test.later)
				}
			})
		}
	}
}
