// SPDX-License-Identifier: Apache-2.0

package index

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestChatbots_KeepNothingOfUnboundedSize covers that only an ID and HMAC secrets of permitted length are kept of a Secret in the identity
// namespace, whose entries have up to 1 MiB.
func TestChatbots_KeepNothingOfUnboundedSize(t *testing.T) {
	long := strings.Repeat("x", 1_000_000)
	x := &Chatbots{}
	for name, change := range map[string]func(*corev1.Secret){
		"a long ID":          func(s *corev1.Secret) { s.Name, s.Data["chatbot-id"] = identity.ReservationName(long), []byte(long) },
		"a long HMAC secret": func(s *corev1.Secret) { s.Data["hmac-secret"] = []byte(long) },
	} {
		_ = x.Put(verifytest.Replica("cb_1", change), 0, 1)
		if x.Len() != 0 {
			t.Errorf("a copy with %s is kept", name)
		}
	}
	if err := x.Put(verifytest.Replica("cb_1", func(s *corev1.Secret) { s.Data["other"], s.Labels = []byte(long), map[string]string{"x": long} }), 0, 1); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", *x.find("cb_1")); len(text) > 4096 {
		t.Errorf("%d bytes are kept of a copy, want at most 4096", len(text))
	}
}
