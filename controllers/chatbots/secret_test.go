// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// TestDressIdentitySecret_PublishesTheReservedEntries: the list in api/v1alpha1 names what the operator publishes for a chatbot, no more and
// no less.
func TestDressIdentitySecret_PublishesTheReservedEntries(t *testing.T) {
	texts := [][]byte{[]byte("the present one"), []byte("the previous one")}
	seen := &observed{texts: map[string][]byte{identity.Hash(texts[0]): texts[0], identity.Hash(texts[1]): texts[1]}}
	seen.Chatbot = &v1alpha1.DGbotChatbot{Spec: v1alpha1.DGbotChatbotSpec{IdentityVerification: &v1alpha1.IdentityVerification{}}}
	seen.ID = "cb_1"
	published := &corev1.Secret{Data: map[string][]byte{"theirs": []byte("stays")}}
	dressIdentitySecret(published, seen, identity.Hash(texts[0]), identity.Hash(texts[1]))
	want := slices.Sorted(slices.Values(append(v1alpha1.IdentitySecretEntries[:], "theirs")))
	if got := slices.Sorted(maps.Keys(published.Data)); !slices.Equal(got, want) {
		t.Errorf("the Secret of a chatbot has %q, the list %q", got, want)
	}
	dressIdentitySecret(published, seen, identity.Hash(texts[0]), "")
	if got := slices.Sorted(maps.Keys(published.Data)); !slices.Equal(got, []string{"chatbot-id", "hmac-secret", "kid", "theirs"}) {
		t.Errorf("without a previous one the Secret of a chatbot has %q", got)
	}
}
