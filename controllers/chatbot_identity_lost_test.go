// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

// withoutIdentity is a client that cannot create objects of one kind in the identity namespace.
func withoutIdentity[T client.Object](answer error) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, ok := o.(T); ok && o.GetNamespace() == v1alpha1.IdentityNamespace {
				return answer
			}
			return c.Create(ctx, o, options...)
		},
	})
}

// TestChatbot_NamesEverythingToApplyWhenTheIdentityNamespaceIsLost covers the two answers of the API server: the namespace does not
// exist, or it was created anew without the manager's Role.
func TestChatbot_NamesEverythingToApplyWhenTheIdentityNamespaceIsLost(t *testing.T) {
	gone := apierrors.NewNotFound(corev1.Resource("namespaces"), v1alpha1.IdentityNamespace)
	for name, test := range map[string]struct {
		writes client.WithWatch
		reason string
	}{
		"no namespace for the reservation": {withoutIdentity[*corev1.ConfigMap](gone), v1alpha1.ChatbotIDRefusedReason},
		"no right to the reservation":      {withoutIdentity[*corev1.ConfigMap](forbidden("no such right")), v1alpha1.ChatbotIDRefusedReason},
		"no namespace for the replica":     {withoutIdentity[*corev1.Secret](gone), v1alpha1.CopyWriteRefusedReason},
		"no right to the replica":          {withoutIdentity[*corev1.Secret](forbidden("no such right")), v1alpha1.CopyWriteRefusedReason},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			hmacBot(w)
			w.restBots(test.writes, botName)
			for _, folder := range []string{"config/identity", "config/verifier/identity", "config/overlays"} {
				w.botStalled(test.reason, folder)
				if _, err := os.Stat("../" + folder); err != nil {
					t.Errorf("the message names a folder that does not exist: %v", err)
				}
			}
			w.botStalled(test.reason, "helm upgrade")
			w.restBots(live, botName)
			w.checkBot(v1alpha1.PublishedReason)
		})
	}
}
