// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
)

var epoch = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

func mint(t testing.TB) apikey.Key {
	t.Helper()
	key, err := apikey.Mint("staging")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// recordOf is the record of a key as the operator writes it.
func recordOf(key apikey.Key, change ...func(*v1alpha1.DGbotAPIKeyRecord)) *v1alpha1.DGbotAPIKeyRecord {
	r := &v1alpha1.DGbotAPIKeyRecord{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "support", Name: "crm-3f9c2a1b-r3", UID: "7771c11c-2610-41ab-a832-a339b9abcf1d",
			CreationTimestamp: metav1.Time{Time: epoch},
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: "crm", UID: "owner"}},
		},
		Spec: v1alpha1.DGbotAPIKeyRecordSpec{
			APIKeyRef: v1alpha1.APIKeyReference{Name: "crm", UID: "owner"}, Revision: 3, KeyID: key.ID(), Hash: key.Hash(),
			Environment: "staging", Label: "CRM", Scopes: []v1alpha1.Scope{"a.b", "c.*"}, State: v1alpha1.StateActive,
		},
	}
	for _, do := range change {
		if do != nil {
			do(r)
		}
	}
	return r
}

func created(after time.Duration, uid types.UID) func(*v1alpha1.DGbotAPIKeyRecord) {
	return func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.CreationTimestamp.Time, r.UID = epoch.Add(after), uid
	}
}

func TestEveryReasonToRefuse(t *testing.T) {
	end := metav1.Time{Time: epoch.Add(time.Minute)}
	edit := func(change func(*v1alpha1.DGbotAPIKeyRecord)) func(*v1alpha1.DGbotAPIKeyRecord) { return change }
	for name, tc := range map[string]struct {
		change func(*v1alpha1.DGbotAPIKeyRecord)
		now    time.Time
		want   refusal
	}{
		"nothing":                 {edit(func(*v1alpha1.DGbotAPIKeyRecord) {}), epoch, ""},
		"an end that is near":     {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &end }), end.Add(-time.Nanosecond), ""},
		"the end":                 {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &end }), end.Time, expired},
		"Revoked":                 {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateRevoked }), epoch, revoked},
		"Disabled":                {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateDisabled }), epoch, disabled},
		"no owner":                {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil }), epoch, orphaned},
		"another owner":           {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences[0].UID = "another" }), epoch, orphaned},
		"another hash":            {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = apikey.Hash([]byte("another")) }), epoch, wrong},
		"another key ID":          {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.KeyID = "000000000000" }), epoch, unknown},
		"a state from the future": {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = "Frozen" }), epoch, unknown},
		"no state":                {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = "" }), epoch, unknown},
		"a hash that is none":     {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = "sha512:00" }), epoch, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			key, x := mint(t), &Index{}
			_ = x.put(recordOf(key, tc.change), 0, 1)
			e, reason := x.check(key.Reveal(), tc.now)
			if reason != tc.want || (e != nil) != (tc.want == "") {
				t.Errorf("refused because %q, want %q", reason, tc.want)
			}
		})
	}
}

func TestIdentityIsTheRecords(t *testing.T) {
	key, x := mint(t), &Index{}
	end := metav1.Time{Time: epoch.Add(time.Hour)}
	long := strings.Repeat("n", 253)
	record := recordOf(key, func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.Spec.NotAfter, r.Spec.APIKeyRef.Name, r.OwnerReferences[0].Name, r.Spec.Label = &end, long, long, "Grüße 🔑"
	})
	if err := x.put(record, 0, 1); err != nil {
		t.Fatal(err)
	}
	e, _ := x.check(key.Reveal(), epoch)
	got := fmt.Sprintf("%+v", *e.identity())
	want := fmt.Sprintf("%+v", Identity{
		KeyID: key.ID(), Environment: "staging", Label: "Grüße 🔑", Scopes: []string{"a.b", "c.*"}, Namespace: "support", Name: long,
		Revision: 3, NotAfter: e.identity().NotAfter,
	})
	if strings.Split(got, "NotAfter")[0] != strings.Split(want, "NotAfter")[0] || !e.identity().NotAfter.Equal(end.Time) || e.recordName() != record.Name {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestOnlyTheFirstOfSeveralRecordsCounts(t *testing.T) {
	key := mint(t)
	first := recordOf(key, created(0, "00000000-0000-0000-0000-000000000002"))
	forged := func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.Spec.Hash, r.Spec.Scopes = apikey.Hash([]byte("x")), []v1alpha1.Scope{"*"}
	}
	others := []*v1alpha1.DGbotAPIKeyRecord{
		recordOf(key, created(0, "00000000-0000-0000-0000-000000000003"), forged),
		recordOf(key, created(time.Second, "00000000-0000-0000-0000-000000000001"), forged),
		recordOf(key, created(time.Hour, "no UUID at all"), forged),
	}
	for round := range 50 {
		x := &Index{}
		all := append([]*v1alpha1.DGbotAPIKeyRecord{first}, others...)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, r := range all {
			_ = x.put(r, 0, 1)
		}
		counts := func(when string) {
			t.Helper()
			if e, reason := x.check(key.Reveal(), epoch); e == nil {
				t.Fatalf("round %d: the first record does not count %s: %s", round, when, reason)
			}
		}
		counts("among all")
		if n, ignored := x.records.Load(), x.ignored.Load(); n != 4 || ignored != 3 {
			t.Errorf("%d records, %d ignored", n, ignored)
		}
		x.remove(others[rand.IntN(3)])
		counts("after another was removed")
		_ = x.put(recordOf(key, created(0, first.UID), func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Label = "new" }), 0, 1)
		counts("after it was changed")
		x.remove(first)
		if e, reason := x.check(key.Reveal(), epoch); e != nil || reason != wrong {
			t.Errorf("round %d: %v, %q after the first record was removed", round, e, reason)
		}
		for _, r := range others {
			x.remove(r)
		}
		if n, ignored := x.records.Load(), x.ignored.Load(); n != 0 || ignored != 0 || x.find(keyID([]byte(key.ID()))) != nil {
			t.Errorf("%d records, %d ignored after all were removed", n, ignored)
		}
	}
}

func TestSweepForgetsWhatWasNotShownAgain(t *testing.T) {
	x := &Index{}
	kept, deleted, elsewhere := mint(t), mint(t), mint(t)
	for i, key := range []apikey.Key{kept, deleted, elsewhere} {
		if err := x.put(recordOf(key, created(0, types.UID(strconv.Itoa(i)))), int32(i/2), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.put(recordOf(kept, created(0, "0")), 0, 2); err != nil {
		t.Fatal(err)
	}
	x.sweep(0, 2)
	for key, want := range map[*apikey.Key]refusal{&kept: "", &deleted: unknown, &elsewhere: ""} {
		if _, reason := x.check(key.Reveal(), epoch); reason != want {
			t.Errorf("%q, want %q", reason, want)
		}
	}
	if n := x.records.Load(); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}
