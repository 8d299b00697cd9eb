// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// recordOf returns a record that a verifier accepts.
func recordOf() *v1alpha1.DGbotAPIKeyRecord {
	const key = "crm"
	owner := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: key, UID: "a-uid"}
	return &v1alpha1.DGbotAPIKeyRecord{
		ObjectMeta: metav1.ObjectMeta{Name: key + "-r1", OwnerReferences: []metav1.OwnerReference{owner}},
		Spec:       v1alpha1.DGbotAPIKeyRecordSpec{APIKeyRef: v1alpha1.APIKeyReference{Name: key, UID: "a-uid"}, State: v1alpha1.StateActive},
	}
}

func TestAdmit_RejectsUnknownStates(t *testing.T) {
	for state, want := range map[v1alpha1.KeyState]Verdict{
		v1alpha1.StateActive: Admitted, v1alpha1.StateDisabled: Disabled, v1alpha1.StateRevoked: Revoked,
		"": UnknownState, "Paused": UnknownState, "active": UnknownState, "Activee": UnknownState,
	} {
		record := recordOf()
		record.Spec.State = state
		if got := Admit(record, now); got != want {
			t.Errorf("state %q: %s, want %s", state, got, want)
		}
		if got := Of(record).Verifies(now); got != (want == Admitted || want == Disabled) {
			t.Errorf("state %q: counts as verifying: %t", state, got)
		}
		if got := Admit(record, now).IsFinal(); got != (want == Revoked) {
			t.Errorf("state %q: final: %t", state, got)
		}
	}
}

// TestAdmit_EndsAtNotAfter without leeway, whatever the state.
func TestAdmit_EndsAtNotAfter(t *testing.T) {
	for left, want := range map[time.Duration]Verdict{time.Second: Admitted, 0: Ended, -time.Second: Ended} {
		record := recordOf()
		record.Spec.NotAfter = &metav1.Time{Time: now.Add(left)}
		if got := Admit(record, now); got != want {
			t.Errorf("%s before its end: %s, want %s", left, got, want)
		}
		record.Spec.State = v1alpha1.StateDisabled
		if got := Of(record).Verifies(now); got != (left > 0) {
			t.Errorf("disabled, %s before its end: counts as verifying: %t", left, got)
		}
	}
}

// TestAdmit_RejectsOrphans: the owner reference must name the key that the record names.
func TestAdmit_RejectsOrphans(t *testing.T) {
	for what, change := range map[string]func(*metav1.OwnerReference){
		"another uid":     func(o *metav1.OwnerReference) { o.UID = "b-uid" },
		"another name":    func(o *metav1.OwnerReference) { o.Name = "erp" },
		"another kind":    func(o *metav1.OwnerReference) { o.Kind = v1alpha1.ChatbotKind },
		"another group":   func(o *metav1.OwnerReference) { o.APIVersion = "keys.example.com/v1alpha1" },
		"no group at all": func(o *metav1.OwnerReference) { o.APIVersion = "a/b/c" },
	} {
		record := recordOf()
		if change(&record.OwnerReferences[0]); Admit(record, now) != Orphaned || !IsOrphan(record) {
			t.Errorf("%s: %s", what, Admit(record, now))
		}
	}
	record := recordOf()
	record.OwnerReferences[0].APIVersion = v1alpha1.GroupVersion.Group + "/v2"
	if got := Admit(record, now); got != Admitted {
		t.Errorf("a reference of a later version: %s", got)
	}
	record.OwnerReferences = nil
	if got := Admit(record, now); got != Orphaned {
		t.Errorf("no reference: %s", got)
	}
}
