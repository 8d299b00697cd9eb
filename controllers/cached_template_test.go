// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestReconcile_PublishesALargeTemplateThatIsNotCached: the cache holds the hash of a large template. The Secret gets the template all the
// same, follows its changes, and a key at rest is not read live.
func TestReconcile_PublishesALargeTemplateThatIsNotCached(t *testing.T) {
	w := newWorld(t)
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
