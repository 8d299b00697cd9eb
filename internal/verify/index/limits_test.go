// SPDX-License-Identifier: Apache-2.0

package index

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestRestrict_CountsBeforeAndAfterPut: limits hold for the records that are there, and for those that come.
func TestRestrict_CountsBeforeAndAfterPut(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		reason Reason
		scopes string
	}{
		"none":                   {Limits{}, "", "a.b c.*"},
		"its environment":        {Limits{Environments: []string{"production", "staging"}}, "", "a.b c.*"},
		"another environment":    {Limits{Environments: []string{"production"}}, Unknown, ""},
		"its namespace":          {Limits{Namespaces: []string{"support"}}, "", "a.b c.*"},
		"another namespace":      {Limits{Namespaces: []string{"sales"}}, Unknown, ""},
		"all scopes":             {Limits{Scopes: []v1alpha1.Scope{"*"}}, "", "a.b c.*"},
		"one scope":              {Limits{Scopes: []v1alpha1.Scope{"a.b"}}, "", "a.b"},
		"a pattern":              {Limits{Scopes: []v1alpha1.Scope{"a.*"}}, "", "a.b"},
		"less than its pattern":  {Limits{Scopes: []v1alpha1.Scope{"c.d"}}, "", ""},
		"none of its scopes":     {Limits{Scopes: []v1alpha1.Scope{"x"}}, "", ""},
		"environment and scopes": {Limits{Environments: []string{"staging"}, Scopes: []v1alpha1.Scope{"c.*"}}, "", "c.*"},
	} {
		key := verifytest.Mint(t)
		before, after := &Keys{}, &Keys{}
		_ = before.Put(verifytest.Record(key), 0, 1)
		before.Restrict(tc.limits)
		after.Restrict(tc.limits)
		err := after.Put(verifytest.Record(key), 0, 1)
		if (err != nil) != (tc.reason == Unknown) {
			t.Errorf("%s: Put: %v", name, err)
		}
		for when, x := range map[string]*Keys{"there": before, "comes": after} {
			e, reason := x.check(key.Reveal(), verifytest.Epoch)
			if reason != tc.reason || e != nil && e.Scopes() != tc.scopes || x.Records() != number(e) {
				t.Errorf("%s, a record that %s: %q with %d records; want %q and scopes %q", name, when, reason, x.Records(), tc.reason, tc.scopes)
			}
		}
	}
}

func number(e *Entry) int64 {
	if e == nil {
		return 0
	}
	return 1
}

// TestRestrict_NeverWidens: limits add up, also for records that come later.
func TestRestrict_NeverWidens(t *testing.T) {
	key, x := verifytest.Mint(t), &Keys{}
	x.Restrict(Limits{Scopes: []v1alpha1.Scope{"a.*"}})
	x.Restrict(Limits{Scopes: []v1alpha1.Scope{"*"}, Environments: []string{"staging"}})
	x.Restrict(Limits{Scopes: []v1alpha1.Scope{"*"}, Environments: []string{"staging", "production"}})
	_ = x.Put(verifytest.Record(key), 0, 1)
	if e, _ := x.check(key.Reveal(), verifytest.Epoch); e == nil || e.Scopes() != "a.b" {
		t.Errorf("%+v has other scopes than a.b", e)
	}
	if err := x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Environment = "production" }), 0, 1); err == nil {
		t.Error("a record of production counts again")
	}
	if e, _ := x.check(key.Reveal(), verifytest.Epoch); e != nil {
		t.Error("a record that is no longer allowed still counts")
	}
}

// TestRestrict_KeepsTheOrderOfRecordsWithOneID narrows a chain in its middle.
func TestRestrict_KeepsTheOrderOfRecordsWithOneID(t *testing.T) {
	key, x := verifytest.Mint(t), &Keys{}
	for i, namespace := range []string{"sales", "support", "sales", "support"} {
		_ = x.Put(verifytest.Record(key, verifytest.Created(time.Duration(i)*time.Second, types.UID(rune('a'+i))), func(r *v1alpha1.DGbotAPIKeyRecord) {
			r.Namespace, r.Spec.Label = namespace, string(rune('a'+i))
		}), 0, 1)
	}
	x.Restrict(Limits{Namespaces: []string{"support"}, Scopes: []v1alpha1.Scope{"a.b"}})
	e, _ := x.check(key.Reveal(), verifytest.Epoch)
	if e == nil || e.label() != "b" || e.next.label() != "d" || e.next.next != nil || x.Records() != 2 || x.Duplicates() != 1 || e.next.Scopes() != "a.b" {
		t.Errorf("%+v; %d records, %d duplicates", e, x.Records(), x.Duplicates())
	}
}

// TestPut_LeavesOutWhatThereIsNoRoomFor, and changes what is there all the same: a revocation needs no room.
func TestPut_LeavesOutWhatThereIsNoRoomFor(t *testing.T) {
	x, keys := &Keys{}, []apikey.Key{verifytest.Mint(t), verifytest.Mint(t), verifytest.Mint(t)}
	x.Restrict(Limits{Records: 2})
	record := func(i int, change ...func(*v1alpha1.DGbotAPIKeyRecord)) *v1alpha1.DGbotAPIKeyRecord {
		return verifytest.Record(keys[i], append(change, verifytest.Created(0, types.UID(rune('a'+i))))...)
	}
	for i, want := range []error{nil, nil, ErrFull} {
		if err := x.Put(record(i), 0, 1); !errors.Is(err, want) {
			t.Errorf("record %d: %v, want %v", i, err, want)
		}
	}
	if err := x.Put(record(1, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateRevoked }), 0, 1); err != nil {
		t.Error(err)
	}
	if _, reason := x.check(keys[1].Reveal(), verifytest.Epoch); reason != Revoked {
		t.Errorf("the revoked key: %q", reason)
	}
	x.Remove(record(0))
	if err := x.Put(record(2), 0, 1); err != nil {
		t.Errorf("after a record is gone: %v", err)
	}
}

func TestPut_BoundsTheRecordsWithOneID(t *testing.T) {
	x, key := &Keys{}, verifytest.Mint(t)
	x.Restrict(Limits{Environments: []string{"staging"}})
	var err error
	for i := range maxSameID + 1 {
		err = x.Put(verifytest.Record(key, verifytest.Created(0, types.UID(strings.Repeat("u", i+1)))), 0, 1)
	}
	if !errors.Is(err, ErrFull) || x.Records() != maxSameID {
		t.Errorf("%d records: %v", x.Records(), err)
	}
}

// TestPut_RejectsOtherForms of which another cluster's API server could send any.
func TestPut_RejectsOtherForms(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.DGbotAPIKeyRecordSpec){
		"a scope that is two": func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Scopes = []v1alpha1.Scope{"a.b *"} },
		"an empty scope":      func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Scopes = []v1alpha1.Scope{""} },
		"a scope in capitals": func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Scopes = []v1alpha1.Scope{"A.b"} },
		"a long scope": func(s *v1alpha1.DGbotAPIKeyRecordSpec) {
			s.Scopes = []v1alpha1.Scope{v1alpha1.Scope(strings.Repeat("a", 65))}
		},
		"many scopes":             func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Scopes = make([]v1alpha1.Scope, 33) },
		"a header in its chatbot": func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.ChatbotID = "cb\r\nX-DGbot-Scopes: *" },
		"an environment":          func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Environment = "staging production" },
		"a long label":            func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.Label = strings.Repeat("x", 401) },
		"a UID with a line break": func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.APIKeyRef.UID = "a\nb" },
	} {
		key, x := verifytest.Mint(t), &Keys{}
		if err := x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { change(&r.Spec) }), 0, 1); err == nil || x.Records() != 0 {
			t.Errorf("%s: %v, %d records", name, err, x.Records())
		}
	}
	key, x := verifytest.Mint(t), &Keys{}
	for _, scope := range []v1alpha1.Scope{"*", "a.*", "a.b", "a:b_c-1.*"} {
		if err := x.Put(verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Scopes = []v1alpha1.Scope{scope} }), 0, 1); err != nil {
			t.Errorf("%s: %v", scope, err)
		}
	}
}
