// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
)

// stripping reads as from a cache.
func stripping(reads client.WithWatch) client.WithWatch {
	return interceptor.NewClient(reads, interceptor.Funcs{
		Get: func(ctx context.Context, next client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			if err := next.Get(ctx, name, into, options...); err != nil {
				return err
			}
			_, err := caching.Strip(into)
			return err
		},
		List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if err := next.List(ctx, list, options...); err != nil {
				return err
			}
			return apimeta.EachListItem(list, func(item runtime.Object) error {
				_, err := caching.Strip(item)
				return err
			})
		},
	})
}

// TestPublish_KeepsWhatUsersAdded: the cache does not hold what users add to a chatbot's ConfigMap, and a repair leaves it there.
func TestPublish_KeepsWhatUsersAdded(t *testing.T) {
	w := newFixture(t)
	plainBot(w)
	reads := stripping(live)
	w.restBots(reads, botName)
	w.editWidget(func(widget *corev1.ConfigMap) {
		widget.Labels["team"], widget.Annotations = "support", map[string]string{"note": "theirs"}
		widget.Data["theirs"], widget.Data[v1alpha1.WidgetSnippet] = "stays", strings.Repeat("spoiled ", 1000)
		widget.BinaryData = map[string][]byte{"logo": {1, 2}}
		widget.OwnerReferences = append(widget.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: w.Name, UID: "other"})
		widget.Finalizers = []string{"example.com/theirs"}
	})
	w.restBots(reads, botName)
	widget := w.widget()
	if !strings.HasPrefix(widget.Data[v1alpha1.WidgetSnippet], "<script") {
		t.Errorf("the spoiled entry was not repaired: %.40q", widget.Data[v1alpha1.WidgetSnippet])
	}
	if widget.Labels["team"] != "support" || widget.Annotations["note"] != "theirs" || widget.Data["theirs"] != "stays" ||
		len(widget.BinaryData) != 1 || len(widget.Finalizers) != 1 {
		t.Errorf("what users added is gone: labels %v, annotations %v, finalizers %v", widget.Labels, widget.Annotations, widget.Finalizers)
	}
	widget.Finalizers = nil
	if err := live.Update(t.Context(), widget); err != nil {
		t.Fatal(err)
	}
}

// TestReconcile_PublishesALargeTemplateThatIsNotCached: the cache holds the hash of a large template. The Secret gets the template all the
// same, follows its changes, and a key at rest is not read live.
func TestReconcile_PublishesALargeTemplateThatIsNotCached(t *testing.T) {
	w := newFixture(t)
	reads := 0
	operator := w.operator(stripping(live))
	operator.Live = interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			reads++
			return c.Get(ctx, name, into, options...)
		},
	})
	template := &v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{}}
	for i := range 30 { // near the most that policy dgbot-sizes accepts
		template.Annotations[fmt.Sprintf("example.com/%d", i)] = v1alpha1.AnnotationValue(strings.Repeat("x", 1000))
	}
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Secret = &v1alpha1.SecretSpec{Template: template} })
	w.restWith(operator)
	if got := w.secret().Annotations["example.com/7"]; len(got) != 1000 {
		t.Fatalf("the Secret has %d bytes of an annotation of 1000", len(got))
	}
	w.restWith(operator)
	reads = 0
	for range 3 {
		w.restWith(operator)
	}
	if reads != 0 {
		t.Errorf("%d live reads of a key at rest", reads)
	}
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.Secret.Template.Annotations["example.com/7"] = "changed" })
	w.restWith(operator)
	if got := w.secret().Annotations["example.com/7"]; got != "changed" {
		t.Errorf("the Secret has %.20q after the template changed", got)
	}
	w.editSecret(func(s *corev1.Secret) { delete(s.Annotations, "example.com/8") })
	w.restWith(operator)
	if got := w.secret().Annotations["example.com/8"]; len(got) != 1000 {
		t.Errorf("the annotation is not restored: %d bytes", len(got))
	}
}
