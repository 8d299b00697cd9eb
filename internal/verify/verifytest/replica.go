// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// The HMAC secrets of replicas.
var (
	Secret         = []byte(strings.Repeat("a1", 32))
	PreviousSecret = []byte(strings.Repeat("b2", 32))
)

// Replica returns the replica of a chatbot's HMAC secrets as the operator writes it, with a change unless that is nil. PreviousSecret expires an
// hour after Epoch.
func Replica(id string, change func(*corev1.Secret)) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.IdentityNamespace, Name: identity.ReservationName(id)},
		Data: map[string][]byte{
			"chatbot-id": []byte(id), "accept-plain": []byte("true"), "environment": []byte("production"), "namespace": []byte("support"),
			"hmac-secret": Secret, "hmac-secret-previous": PreviousSecret,
			"not-after-previous": []byte(Epoch.Add(time.Hour).Format(time.RFC3339)),
		},
	}
	if change != nil {
		change(secret)
	}
	return secret
}
