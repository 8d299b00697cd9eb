// SPDX-License-Identifier: Apache-2.0

package index

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
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// check returns the entry of a key that is accepted, or nil and the reason.
func (x *Keys) check(text string, now time.Time) (*Entry, Reason) {
	key, ok := Read(text)
	if !ok {
		return nil, Malformed
	}
	e := x.Find(&key)
	if reason := e.Check(&key, now); reason != "" {
		return nil, reason
	}
	return e, ""
}

func TestCheck_RejectsForEachReason(t *testing.T) {
	end := metav1.Time{Time: verifytest.Epoch.Add(time.Minute)}
	edit := func(change func(*v1alpha1.DGbotAPIKeyRecord)) func(*v1alpha1.DGbotAPIKeyRecord) { return change }
	for name, tc := range map[string]struct {
		change func(*v1alpha1.DGbotAPIKeyRecord)
		now    time.Time
		want   Reason
	}{
		"nothing":                 {edit(func(*v1alpha1.DGbotAPIKeyRecord) {}), verifytest.Epoch, ""},
		"an end that is near":     {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &end }), end.Add(-time.Nanosecond), ""},
		"the end":                 {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &end }), end.Time, Expired},
		"Revoked":                 {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateRevoked }), verifytest.Epoch, Revoked},
		"Disabled":                {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateDisabled }), verifytest.Epoch, Disabled},
		"no owner":                {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil }), verifytest.Epoch, Orphaned},
		"another owner":           {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences[0].UID = "another" }), verifytest.Epoch, Orphaned},
		"another hash":            {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = apikey.Hash([]byte("another")) }), verifytest.Epoch, Wrong},
		"another key ID":          {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.KeyID = "000000000000" }), verifytest.Epoch, Unknown},
		"a state from the future": {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = "Frozen" }), verifytest.Epoch, Unknown},
		"no state":                {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = "" }), verifytest.Epoch, Unknown},
		"a hash that is none":     {edit(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = "sha512:00" }), verifytest.Epoch, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			key, x := verifytest.Mint(t), &Keys{}
			_ = x.Put(verifytest.Record(key, tc.change), 0, 1)
			e, reason := x.check(key.Reveal(), tc.now)
			if reason != tc.want || (e != nil) != (tc.want == "") {
				t.Errorf("refused because %q, want %q", reason, tc.want)
			}
		})
	}
}

func TestIdentity_DescribesTheRecord(t *testing.T) {
	key, x := verifytest.Mint(t), &Keys{}
	end := metav1.Time{Time: verifytest.Epoch.Add(time.Hour)}
	long := strings.Repeat("n", 253)
	record := verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.Spec.NotAfter, r.Spec.APIKeyRef.Name, r.OwnerReferences[0].Name, r.Spec.Label = &end, long, long, "Grüße 🔑"
	})
	if err := x.Put(record, 0, 1); err != nil {
		t.Fatal(err)
	}
	e, _ := x.check(key.Reveal(), verifytest.Epoch)
	got := fmt.Sprintf("%+v", *e.Identity())
	want := fmt.Sprintf("%+v", Identity{
		UID: "owner", KeyID: key.ID(), Environment: "staging", Label: "Grüße 🔑", Scopes: []string{"a.b", "c.*"}, Namespace: "support", Name: long,
		Revision: 3, NotAfter: e.Identity().NotAfter,
	})
	if strings.Split(got, "NotAfter")[0] != strings.Split(want, "NotAfter")[0] || !e.Identity().NotAfter.Equal(end.Time) || e.RecordName() != record.Name {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestKeys_CountTheFirstOfSeveralRecordsOnly(t *testing.T) {
	key := verifytest.Mint(t)
	first := verifytest.Record(key, verifytest.Created(0, "00000000-0000-0000-0000-000000000002"))
	forged := func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.Spec.Hash, r.Spec.Scopes = apikey.Hash([]byte("x")), []v1alpha1.Scope{"*"}
	}
	others := []*v1alpha1.DGbotAPIKeyRecord{
		verifytest.Record(key, verifytest.Created(0, "00000000-0000-0000-0000-000000000003"), forged),
		verifytest.Record(key, verifytest.Created(time.Second, "00000000-0000-0000-0000-000000000001"), forged),
		verifytest.Record(key, verifytest.Created(time.Hour, "no UUID at all"), forged),
	}
	for round := range 50 {
		x := &Keys{}
		all := append([]*v1alpha1.DGbotAPIKeyRecord{first}, others...)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, r := range all {
			_ = x.Put(r, 0, 1)
		}
		counts := func(when string) {
			t.Helper()
			if e, reason := x.check(key.Reveal(), verifytest.Epoch); e == nil {
				t.Fatalf("round %d: the first record does not count %s: %s", round, when, reason)
			}
		}
		counts("among all")
		if n, ignored := x.records.Load(), x.duplicates.Load(); n != 4 || ignored != 3 {
			t.Errorf("%d records, %d ignored", n, ignored)
		}
		x.Remove(others[rand.IntN(3)])
		counts("after another was removed")
		_ = x.Put(verifytest.Record(key, verifytest.Created(0, first.UID), func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Label = "new" }), 0, 1)
		counts("after it was changed")
		x.Remove(first)
		if e, reason := x.check(key.Reveal(), verifytest.Epoch); e != nil || reason != Wrong {
			t.Errorf("round %d: %v, %q after the first record was removed", round, e, reason)
		}
		for _, r := range others {
			x.Remove(r)
		}
		if n, ignored := x.records.Load(), x.duplicates.Load(); n != 0 || ignored != 0 || x.find(keyID([]byte(key.ID()))) != nil {
			t.Errorf("%d records, %d ignored after all were removed", n, ignored)
		}
	}
}

func TestSweep_RemovesRecordsOfEarlierGenerations(t *testing.T) {
	x := &Keys{}
	kept, deleted, elsewhere := verifytest.Mint(t), verifytest.Mint(t), verifytest.Mint(t)
	for i, key := range []apikey.Key{kept, deleted, elsewhere} {
		if err := x.Put(verifytest.Record(key, verifytest.Created(0, types.UID(strconv.Itoa(i)))), int32(i/2), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Put(verifytest.Record(kept, verifytest.Created(0, "0")), 0, 2); err != nil {
		t.Fatal(err)
	}
	x.Sweep(0, 2)
	for key, want := range map[*apikey.Key]Reason{&kept: "", &deleted: Unknown, &elsewhere: ""} {
		if _, reason := x.check(key.Reveal(), verifytest.Epoch); reason != want {
			t.Errorf("%q, want %q", reason, want)
		}
	}
	if n := x.records.Load(); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// TestKeys_CountChangesOfAnswersAlone: a verifier tells the operator of a change soon, and of reported uses later.
func TestKeys_CountChangesOfAnswersAlone(t *testing.T) {
	key, other := verifytest.Mint(t), verifytest.Mint(t)
	at := metav1.Time{Time: verifytest.Epoch.Add(time.Minute)}
	x, before := &Keys{}, int64(0)
	for _, step := range []struct {
		what    string
		do      func() error
		changed bool
	}{
		{"a new record", func() error { return x.Put(verifytest.Record(key), 0, 1) }, true},
		{"the same", func() error { return x.Put(verifytest.Record(key), 0, 1) }, false},
		{"the same of the next list", func() error { return x.Put(verifytest.Record(key), 0, 2) }, false},
		{"a use", func() error {
			return x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Status.LastUsedAt = &at }), 0, 2)
		}, false},
		{"an annotation", func() error {
			return x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Annotations = map[string]string{"a": "b"} }), 0, 2)
		}, false},
		{"its end", func() error {
			return x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &at }), 0, 2)
		}, true},
		{"its state", func() error {
			return x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter, r.Spec.State = &at, v1alpha1.StateRevoked }), 0, 2)
		}, true},
		{"its scopes", func() error {
			return x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Scopes = nil }), 0, 2)
		}, true},
		{"its label", func() error {
			return x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Scopes, r.Spec.Label = nil, "another" }), 0, 2)
		}, true},
		{"a duplicate", func() error {
			_ = x.Put(verifytest.Record(key, verifytest.Created(time.Hour, "another")), 0, 2)
			return nil
		}, true},
		{"a list without the duplicate", func() error {
			_ = x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Scopes, r.Spec.Label = nil, "another" }), 0, 3)
			x.Sweep(0, 3)
			return nil
		}, true},
		{"a list with the same", func() error { x.Sweep(0, 3); return nil }, false},
		{"the end of an unknown record", func() error { x.Remove(verifytest.Record(other)); return nil }, false},
		{"its deletion", func() error { x.Remove(verifytest.Record(key)); return nil }, true},
		{"its deletion again", func() error { x.Remove(verifytest.Record(key)); return nil }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if changed := x.Changes() > before; changed != step.changed {
			t.Errorf("%s: changed: %t", step.what, changed)
		}
		before = x.Changes()
	}
}
