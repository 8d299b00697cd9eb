// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue/queuetest"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
)

// TestWakeChatbots_WakesTheOwnerFirst: of the chatbots that name a Secret or a ConfigMap only its owner is woken by every change of it.
func TestWakeChatbots_WakesTheOwnerFirst(t *testing.T) {
	chatbot := func(name, publishes string) *v1alpha1.DGbotChatbot {
		return &v1alpha1.DGbotChatbot{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name, UID: types.UID("uid-" + name)},
			Spec: v1alpha1.DGbotChatbotSpec{
				IdentityVerification: &v1alpha1.IdentityVerification{Secret: &v1alpha1.IdentitySecretSpec{Name: publishes}},
				Widget:               &v1alpha1.WidgetSpec{ConfigMapName: publishes},
			},
		}
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(chatbot("owner", "shared"), chatbot("other", "shared"), chatbot("third", "shared"), chatbot("elsewhere", "another")).Build()}
	for kind, empty := range map[string]func() client.Object{
		"Secret":    func() client.Object { return read.Metadata("Secret") },
		"ConfigMap": func() client.Object { return &corev1.ConfigMap{} },
	} {
		version := func(uid types.UID, resourceVersion string, owners ...metav1.OwnerReference) client.Object {
			object := empty()
			object.SetNamespace("support")
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
			"created":                     {nil, version("uid-owner", "7"), 1, 2},
			"touched":                     {version("uid-owner", "7"), version("uid-owner", "8"), 1, 0},
			"moved to another chatbot":    {version("uid-owner", "7"), version("uid-other", "8"), 2, 1},
			"foreign and touched":         {version("another", "7", another), version("another", "8", another), 0, 0},
			"foreign, another owner":      {version("another", "7"), version("another", "8", another), 0, 3},
			"no longer the chatbot's own": {version("uid-owner", "7"), version("another", "8"), 1, 2},
			"gone":                        {version("another", "7"), nil, 3, 0},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				queue, wake := queuetest.NewRecorder(), r.wakeChatbots()
				switch {
				case test.before == nil:
					wake.Create(t.Context(), event.CreateEvent{Object: test.after}, queue)
				case test.after == nil:
					wake.Delete(t.Context(), event.DeleteEvent{Object: test.before}, queue)
				default:
					wake.Update(t.Context(), event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}, queue)
				}
				if len(queue.Now) != test.now || len(queue.Later) != test.later {
					t.Errorf("woken at once: %v, later: %v; want %d and %d", queue.Now, queue.Later, test.now, test.later)
				}
			})
		}
	}
}

// TestChatbotsOf_LeavesOutOtherNamespaces: the holder of a reservation is not woken if this manager does not work in its namespace.
func TestChatbotsOf_LeavesOutOtherNamespaces(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reservation := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.IdentityNamespace, Name: "id-1"},
		Data:       map[string]string{reservation.EntryNamespace: "theirs", reservation.EntryName: "bot"},
	}
	none := func(client.Object) []string { return nil }
	for watched, want := range map[string]int{"": 1, "theirs": 1, "support": 0} {
		r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithIndex(&v1alpha1.DGbotChatbot{}, lockNameIndex, none).Build()}
		if watched != "" {
			r.Namespaces = []string{watched}
		}
		if got := r.chatbotsOf(t.Context(), reservation); len(got) != want {
			t.Errorf("with --watch-namespaces=%q it wakes %v, want %d", watched, got, want)
		}
	}
}
