// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"slices"
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

// TestChatbotsNaming_ReturnsThoseThatPublishUnderTheName: published.WakeOwners wakes no other chatbot. One that imports from a Secret names it, too.
func TestChatbotsNaming_ReturnsThoseThatPublishUnderTheName(t *testing.T) {
	chatbot := func(name, secret, configMap, imports string) *v1alpha1.DGbotChatbot {
		return &v1alpha1.DGbotChatbot{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name, UID: types.UID("uid-" + name)},
			Spec: v1alpha1.DGbotChatbotSpec{
				IdentityVerification: &v1alpha1.IdentityVerification{
					Secret: &v1alpha1.IdentitySecretSpec{Name: secret}, ImportFrom: &v1alpha1.ImportSource{Name: imports, Key: "secret"},
				},
				Widget: &v1alpha1.WidgetSpec{ConfigMapName: configMap},
			},
		}
	}
	r := &Reconciler{Client: withChatbots(t, chatbot("a", "shared", "other", "source"), chatbot("b", "shared", "shared", "other"), chatbot("c", "another", "shared", "shared"))}
	for name, test := range map[string]struct {
		object client.Object
		name   string
		want   []string
	}{
		"a Secret":                     {read.Metadata("Secret"), "shared", []string{"a", "b", "c"}},
		"a Secret to import from":      {read.Metadata("Secret"), "source", []string{"a"}},
		"a ConfigMap":                  {&corev1.ConfigMap{}, "shared", []string{"b", "c"}},
		"a ConfigMap of a Secret name": {&corev1.ConfigMap{}, "another", nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.object.SetNamespace("support")
			test.object.SetName(test.name)
			var got []string
			for _, chatbot := range r.chatbotsNaming(t.Context(), test.object) {
				got = append(got, chatbot.Name)
			}
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("named by %q, want %q", got, test.want)
			}
		})
	}
}

// TestWakeChatbots_TellsNamespacesApart: in the identity namespace every change wakes the chatbots at once. Elsewhere a change wakes the owner, as
// published.WakeOwners has it.
func TestWakeChatbots_TellsNamespacesApart(t *testing.T) {
	publishing := func(name string) *v1alpha1.DGbotChatbot {
		return &v1alpha1.DGbotChatbot{
			ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name, UID: types.UID("uid-" + name)},
			Spec:       v1alpha1.DGbotChatbotSpec{Widget: &v1alpha1.WidgetSpec{ConfigMapName: "shared"}},
		}
	}
	r := &Reconciler{Client: withChatbots(t, publishing("owner"), publishing("other"))}
	version := func(namespace, resourceVersion string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: "shared", ResourceVersion: resourceVersion, Labels: map[string]string{v1alpha1.ChatbotLabel: "uid-owner"},
			},
			Data: map[string]string{reservation.EntryNamespace: "support", reservation.EntryName: "holder"},
		}
	}
	for namespace, want := range map[string]string{"support": "owner", v1alpha1.IdentityNamespace: "holder"} {
		queue := queuetest.NewRecorder()
		r.wakeChatbots().Update(t.Context(), event.UpdateEvent{ObjectOld: version(namespace, "7"), ObjectNew: version(namespace, "8")}, queue)
		if !queue.Now[want] || len(queue.Now) != 1 || len(queue.Later) != 0 {
			t.Errorf("a ConfigMap in %s that was touched wakes at once: %v, later: %v; want only %s, at once", namespace, queue.Now, queue.Later, want)
		}
	}
}

// withChatbots returns a client with some chatbots, none of which has the ID of a reservation.
func withChatbots(t *testing.T, chatbots ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	none := func(client.Object) []string { return nil }
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(chatbots...).WithIndex(&v1alpha1.DGbotChatbot{}, lockNameIndex, none).Build()
}

// TestChatbotsOf_LeavesOutOtherNamespaces: the holder of a reservation is not woken if this manager does not work in its namespace.
func TestChatbotsOf_LeavesOutOtherNamespaces(t *testing.T) {
	reservation := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.IdentityNamespace, Name: "id-1"},
		Data:       map[string]string{reservation.EntryNamespace: "theirs", reservation.EntryName: "bot"},
	}
	for watched, want := range map[string]int{"": 1, "theirs": 1, "support": 0} {
		r := &Reconciler{Client: withChatbots(t)}
		if watched != "" {
			r.Namespaces = []string{watched}
		}
		if got := r.chatbotsOf(t.Context(), reservation); len(got) != want {
			t.Errorf("with --watch-namespaces=%q it wakes %v, want %d", watched, got, want)
		}
	}
}
