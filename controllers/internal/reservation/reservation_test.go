// SPDX-License-Identifier: Apache-2.0

package reservation

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestNameOf_IsOneNameForEachID: with two names for one ID, two chatbots could reserve it.
func TestNameOf_IsOneNameForEachID(t *testing.T) {
	names := map[types.NamespacedName]string{}
	for _, id := range []string{"support", "Support", "support-", "support_", "A", strings.Repeat("a", 64)} {
		name := NameOf(id)
		if name != NameOf(id) || name.Namespace != v1alpha1.IdentityNamespace {
			t.Errorf("ID %s has the names %s and %s", id, name, NameOf(id))
		}
		if problems := validation.IsDNS1123Subdomain(name.Name); problems != nil {
			t.Errorf("ID %s has the name %s: %v", id, name, problems)
		}
		if other, taken := names[name]; taken {
			t.Errorf("the IDs %s and %s have one name", id, other)
		}
		names[name] = id
	}
}

// TestHolderLabel_FitsIntoALabel: names of chatbots are longer than the values of labels.
func TestHolderLabel_FitsIntoALabel(t *testing.T) {
	holders := map[string]types.NamespacedName{}
	for _, holder := range []types.NamespacedName{
		{Namespace: "support", Name: "bot"}, {Namespace: "support", Name: "bot2"}, {Namespace: "support-bot", Name: "bot"},
		{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("a", 253)}, {Namespace: strings.Repeat("n", 63), Name: strings.Repeat("a", 252) + "b"},
	} {
		label := HolderLabel(holder)
		if problems := validation.IsValidLabelValue(label); problems != nil || label == "" || label != HolderLabel(holder) {
			t.Errorf("%s has the label %q: %v", holder, label, problems)
		}
		if other, taken := holders[label]; taken {
			t.Errorf("%s and %s have one label", holder, other)
		}
		holders[label] = holder
	}
}

func TestHolderOf_ReadsTheEntries(t *testing.T) {
	want := types.NamespacedName{Namespace: "support", Name: "bot"}
	lock := &corev1.ConfigMap{Data: map[string]string{EntryNamespace: want.Namespace, EntryName: want.Name, EntryChatbotID: "id", EntryUID: "uid"}}
	if got := HolderOf(lock); got != want {
		t.Errorf("holder %s, want %s", got, want)
	}
	if got := HolderOf(&corev1.ConfigMap{}); got != (types.NamespacedName{}) {
		t.Errorf("a ConfigMap without entries has the holder %s", got)
	}
}
