// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
)

// TestDescribeWidget_WaitsOnlyForGarbageCollection: the ConfigMap of an earlier chatbot of the name is waited for unless another owner
// keeps it.
func TestDescribeWidget_WaitsOnlyForGarbageCollection(t *testing.T) {
	seen := &observed{}
	seen.Chatbot = &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "bot", UID: "new"}}
	widget := &corev1.ConfigMap{}
	published.SetOwner(widget, &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Name: "bot", UID: "old"}}, v1alpha1.ChatbotKind)
	for _, want := range []chatbots.WidgetState{chatbots.WidgetCollectable, chatbots.WidgetForeign} {
		if err := (&Reconciler{}).describeWidget(t.Context(), seen, widget); err != nil || seen.Widget != want {
			t.Errorf("with %d owners: %s (%v), want %s", len(widget.OwnerReferences), seen.Widget, err, want)
		}
		widget.OwnerReferences = append(widget.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"})
	}
}
