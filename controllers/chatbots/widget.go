// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"fmt"
	"html/template"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// snippet is the HTML for a web page. It holds no secret, and each value is escaped for its place.
var snippet = template.Must(template.New("embed.html").Parse(
	`<script async src="{{.ScriptURL}}" data-chatbot-id="{{.ChatbotID}}"></script>` + "\n"))

func renderSnippet(chatbot *v1alpha1.DGbotChatbot, id string) (string, error) {
	values := struct{ ScriptURL, ChatbotID string }{v1alpha1.DefaultScriptURL, id}
	if chatbot.Spec.Widget != nil && chatbot.Spec.Widget.ScriptURL != "" {
		values.ScriptURL = chatbot.Spec.Widget.ScriptURL
	}
	var text strings.Builder
	if err := snippet.Execute(&text, values); err != nil {
		return "", fmt.Errorf("rendering the snippet of chatbot %s/%s: %w", chatbot.Namespace, chatbot.Name, err)
	}
	return text.String(), nil
}

func widgetName(chatbot *v1alpha1.DGbotChatbot) types.NamespacedName {
	return types.NamespacedName{Namespace: chatbot.Namespace, Name: chatbots.WidgetName(chatbot)}
}

// dressWidget gives a ConfigMap all that the operator publishes for a chatbot. Entries that users add stay.
func dressWidget(widget *corev1.ConfigMap, chatbot *v1alpha1.DGbotChatbot, id string) error {
	embed, err := renderSnippet(chatbot, id)
	if err != nil {
		return err
	}
	published.SetOwner(widget, chatbot, v1alpha1.ChatbotKind)
	if widget.Labels == nil {
		widget.Labels = map[string]string{}
	}
	widget.Labels[v1alpha1.ChatbotLabel] = string(chatbot.UID)
	widget.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedBy
	metav1.SetMetaDataAnnotation(&widget.ObjectMeta, v1alpha1.OwnerAnnotation, published.OwnerText(chatbot))
	if widget.Data == nil {
		widget.Data = map[string]string{}
	}
	widget.Data[v1alpha1.WidgetChatbotID] = id
	widget.Data[v1alpha1.WidgetSnippet] = embed
	return nil
}

// describeWidget adds the ConfigMap to the observation; nil if it does not exist.
func (r *Reconciler) describeWidget(ctx context.Context, seen *observed, widget *corev1.ConfigMap) error {
	seen.widget, seen.Widget = widget, chatbots.WidgetAbsent
	if widget == nil {
		return nil
	}
	controller := metav1.GetControllerOfNoCopy(widget)
	switch {
	case controller != nil && controller.UID == seen.Chatbot.UID,
		controller == nil && types.UID(widget.Labels[v1alpha1.ChatbotLabel]) == seen.Chatbot.UID:
	case controller != nil && controller.Name == seen.Chatbot.Name && standing.IsReferenceTo(v1alpha1.ChatbotKind, *controller):
		if seen.Widget = chatbots.WidgetCollectable; published.HasOtherOwner(widget, controller.UID, published.ChatbotOwner) {
			seen.Widget = chatbots.WidgetForeign // garbage collection may never delete it
		}
		return nil
	default:
		orphaned, err := r.isOrphaned(ctx, widget)
		if err != nil || !orphaned {
			seen.Widget = chatbots.WidgetForeign
			return err
		}
	}
	wanted := widget.DeepCopy()
	if err := dressWidget(wanted, seen.Chatbot, seen.ID); err != nil {
		return err
	}
	seen.Widget = chatbots.WidgetPublished
	if !caching.EqualConfigMaps(wanted, widget) {
		seen.Widget = chatbots.WidgetDrifted
	}
	return nil
}

// isOrphaned reports whether a ConfigMap is orphaned: its chatbot is deleted, and garbage collection does not delete the ConfigMap.
func (r *Reconciler) isOrphaned(ctx context.Context, widget *corev1.ConfigMap) (bool, error) {
	uid := types.UID(widget.Labels[v1alpha1.ChatbotLabel])
	if uid == "" || len(widget.OwnerReferences) > 0 {
		return false, nil
	}
	lives, err := published.ChatbotOwner.MayExist(ctx, &r.gone, r.Client, r.Live, widget, uid)
	return !lives && err == nil, err
}

// publish writes the observed version of the ConfigMap, or conflicts. The cache does not know a ConfigMap that lost its label or is
// foreign; an attempt to create it finds it.
func (r *Reconciler) publish(ctx context.Context, seen *observed) error {
	name := widgetName(seen.Chatbot)
	widget := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	if seen.widget != nil {
		// The observation may come from the cache, which does not hold entries that users added.
		found, err := r.getLive(ctx, name, widget)
		switch {
		case err != nil:
			return read.Wrap(err, "ConfigMap %q", name.Name)
		case !found:
			return r.describeWidget(ctx, seen, nil)
		case widget.UID != seen.widget.UID || widget.ResourceVersion != seen.widget.ResourceVersion:
			if err := r.describeWidget(ctx, seen, widget); err != nil || seen.Widget != chatbots.WidgetDrifted {
				return err
			}
		}
		widget = widget.DeepCopy() // the observation keeps what was read
	}
	if err := dressWidget(widget, seen.Chatbot, seen.ID); err != nil {
		return err
	}
	err := write.Put(ctx, r.Client, widget)
	if seen.widget == nil && apierrors.IsAlreadyExists(err) {
		existing := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
		if err := write.ReadExisting(ctx, r.Live, existing, err, v1alpha1.ConfigMapWriteRefusedReason); err != nil {
			return err
		}
		return r.describeWidget(ctx, seen, existing)
	}
	if err := write.Classify(err, v1alpha1.ConfigMapWriteRefusedReason); err != nil {
		return err
	}
	if err := r.describeWidget(ctx, seen, widget); err != nil {
		return err
	}
	if seen.Widget != chatbots.WidgetPublished {
		return write.Count(write.Altered(v1alpha1.ConfigMapWriteRefusedReason, fmt.Sprintf("ConfigMap %q", name.Name), "the operator's labels or entries"))
	}
	ctrl.LoggerFrom(ctx).Info("Published a chatbot ID", "chatbotID", seen.ID, "configMap", name.Name)
	return nil
}
