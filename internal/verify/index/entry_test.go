// SPDX-License-Identifier: Apache-2.0

package index

import (
	"strings"
	"testing"
	"unsafe"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

func TestEntry_FillsASizeClass(t *testing.T) {
	if size := unsafe.Sizeof(Entry{}); size != 128 {
		t.Errorf("an entry takes %d bytes; the next sizes that Go hands out are 112, 128 and 144", size)
	}
}

// TestEntry_KeepsTheNameOfTheRecord also if it is another one than the operator gives to a revision: reports of use go to that name.
func TestEntry_KeepsTheNameOfTheRecord(t *testing.T) {
	long := strings.Repeat("n", 253)
	for _, key := range []string{"crm", long} {
		derived := revisions.RecordName(key, "owner", 3)
		for name, want := range map[string]int{
			derived: 0, strings.TrimSuffix(derived, "3") + "03": -1, strings.TrimSuffix(derived, "3") + "4": -1, key: 0, "x": 1, key[:2]: 0,
		} {
			record := verifytest.Record(verifytest.Mint(t), func(r *v1alpha1.DGbotAPIKeyRecord) { r.Name, r.Spec.APIKeyRef.Name = name, key })
			e, err := newEntry(record, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			if e.RecordName() != name || e.name() != key || e.KeyUID() != "owner" || e.label() != "CRM" {
				t.Errorf("names %q and %q, UID %q, label %q; want %q, %q, \"owner\", \"CRM\"", e.RecordName(), e.name(), e.KeyUID(), e.label(), name, key)
			}
			if got := int(e.recordLength); want >= 0 && got != want {
				t.Errorf("record %q of %q takes %d bytes, want %d", name, key, got, want)
			}
		}
	}
}

// TestEntry_KeepsTheUIDOfTheKey as it is in the record, also if it is not a UUID in the form of the API server: a limit by another text than that
// of the DGbotAPIKey would be the limit of another key.
func TestEntry_KeepsTheUIDOfTheKey(t *testing.T) {
	const canonical = "0f1e2d3c-4b5a-4678-8796-a5b4c3d2e1f0"
	for uid, want := range map[types.UID]int{
		canonical: 1 + 16, "ffffffff-ffff-ffff-ffff-ffffffffffff": 1 + 16, "00000000-0000-0000-0000-000000000000": 1 + 16,
		types.UID(strings.ToUpper(canonical)): 1 + 36, types.UID(strings.ReplaceAll(canonical, "-", "")): 1 + 32, "0f1e2d3c4-b5a-4678-8796-a5b4c3d2e1f0": 1 + 36,
		"": 1, "owner": 1 + 5, "~": 1 + 1, types.UID(strings.Repeat("u", uuidMarker-1)): uuidMarker,
	} {
		if got := len(packUID(uid)); got != want {
			t.Errorf("%q takes %d bytes, want %d", uid, got, want)
		}
		for _, label := range []string{"", "CRM", "\x00\xff"} {
			record := verifytest.Record(verifytest.Mint(t), func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.APIKeyRef.UID, r.Spec.Label = uid, label })
			e, err := newEntry(record, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			if e.KeyUID() != string(uid) || e.label() != label || e.name() != "crm" || e.RecordName() != record.Name {
				t.Errorf("UID %q, label %q, names %q and %q; want %q, %q, \"crm\", %q", e.KeyUID(), e.label(), e.name(), e.RecordName(), uid, label, record.Name)
			}
		}
	}
	record := verifytest.Record(verifytest.Mint(t), func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.APIKeyRef.UID = types.UID(strings.Repeat("u", uuidMarker)) })
	if _, err := newEntry(record, 0, 1); err == nil {
		t.Error("a UID whose length does not fit into a byte has an entry")
	}
}
