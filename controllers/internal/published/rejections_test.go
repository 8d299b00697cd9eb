// SPDX-License-Identifier: Apache-2.0

package published

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/write"
)

func TestAdviseOnImmutable_NamesTheSecretToDelete(t *testing.T) {
	yes, no := true, false
	for name, test := range map[string]struct {
		secret *corev1.Secret
		want   bool
	}{
		"none":              {nil, false},
		"mutable":           {&corev1.Secret{Type: corev1.SecretTypeOpaque}, false},
		"declared mutable":  {&corev1.Secret{Type: corev1.SecretTypeOpaque, Immutable: &no}, false},
		"immutable":         {&corev1.Secret{Type: corev1.SecretTypeOpaque, Immutable: &yes}, true},
		"of another type":   {&corev1.Secret{Type: corev1.SecretTypeTLS}, true},
		"of a type of none": {&corev1.Secret{}, true},
	} {
		if test.secret != nil {
			test.secret.ObjectMeta = metav1.ObjectMeta{Namespace: "support", Name: "dgbot-crm"}
		}
		if got := IsImmutable(test.secret); got != test.want {
			t.Errorf("%s: immutable: %t, want %t", name, got, test.want)
		}
		err := AdviseOnImmutable(AlteredSecret("dgbot-crm"), test.secret)
		if got := strings.Contains(err.Error(), `delete Secret "dgbot-crm"`); got != test.want {
			t.Errorf("%s: %v; advice: %t, want %t", name, err, got, test.want)
		}
	}
	immutable := &corev1.Secret{Immutable: &yes}
	if err := AdviseOnImmutable(nil, immutable); err != nil {
		t.Errorf("a write that succeeded is an error: %v", err)
	}
	if err := AdviseOnImmutable(write.ErrConflict, immutable); !errors.Is(err, write.ErrConflict) || err.Error() != write.ErrConflict.Error() {
		t.Errorf("a conflict became %v", err)
	}
}

// TestSetEntries_SetsWhatIsOwnedOnly: an entry outside of the list is not watched for drift.
func TestSetEntries_SetsWhatIsOwnedOnly(t *testing.T) {
	secret := &corev1.Secret{Data: map[string][]byte{"kid": []byte("old"), "previous": []byte("old"), "of-a-user": []byte("kept")}}
	SetEntries(secret, []string{"kid", "previous"}, map[string][]byte{"kid": []byte("new"), "of-a-user": []byte("altered"), "unlisted": []byte("x")})
	want := map[string]string{"kid": "new", "of-a-user": "kept"}
	if len(secret.Data) != len(want) {
		t.Errorf("%d entries, want %d", len(secret.Data), len(want))
	}
	for name, text := range want {
		if got := string(secret.Data[name]); got != text {
			t.Errorf("entry %s is %q, want %q", name, got, text)
		}
	}
}

func TestAlteredEntry_NamesSecretAndEntry(t *testing.T) {
	rejected := AlteredEntry("dgbot-crm", "a key", "api-key").Rejection
	if rejected.Reason != v1alpha1.SecretWriteRefusedReason || !strings.Contains(rejected.Message, `"dgbot-crm"`) || !strings.Contains(rejected.Message, `"api-key"`) {
		t.Errorf("rejection %+v, want one that names the Secret and the entry", rejected)
	}
}
