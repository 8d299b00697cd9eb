// SPDX-License-Identifier: Apache-2.0

package index

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

func TestUse_IsDueAtOnceAndThenOncePerResolution(t *testing.T) {
	stamp := func(after time.Duration) *metav1.Time { return &metav1.Time{Time: verifytest.Epoch.Add(after)} }
	for name, tc := range map[string]struct {
		uses        []time.Duration
		known       v1alpha1.DGbotAPIKeyRecordStatus
		first, last *metav1.Time
	}{
		"never used":                   {},
		"the first":                    {uses: []time.Duration{time.Second}, first: stamp(time.Second), last: stamp(time.Second)},
		"several at first":             {uses: []time.Duration{time.Second, time.Minute}, first: stamp(time.Second), last: stamp(time.Minute)},
		"fractions of a second":        {uses: []time.Duration{1900 * time.Millisecond}, first: stamp(time.Second), last: stamp(time.Second)},
		"a clock that goes back":       {uses: []time.Duration{time.Minute, time.Second}, first: stamp(time.Minute), last: stamp(time.Minute)},
		"within the resolution":        {uses: []time.Duration{599 * time.Second}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(0), LastUsedAt: stamp(0)}},
		"after the resolution":         {uses: []time.Duration{600 * time.Second}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(0), LastUsedAt: stamp(0)}, last: stamp(600 * time.Second)},
		"an earlier first":             {uses: []time.Duration{0, 20 * time.Minute}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(time.Minute), LastUsedAt: stamp(time.Minute)}, first: stamp(0), last: stamp(20 * time.Minute)},
		"another verifier was later":   {uses: []time.Duration{time.Minute}, known: v1alpha1.DGbotAPIKeyRecordStatus{FirstUsedAt: stamp(0), LastUsedAt: stamp(time.Hour)}},
		"another verifier's clock far": {uses: []time.Duration{time.Minute}, known: v1alpha1.DGbotAPIKeyRecordStatus{LastUsedAt: &metav1.Time{Time: time.Date(8999, 1, 1, 0, 0, 0, 0, time.UTC)}}},
	} {
		t.Run(name, func(t *testing.T) {
			u := &Use{}
			u.SetReported(&tc.known)
			for _, after := range tc.uses {
				u.Note(verifytest.Epoch.Add(after))
			}
			first, last, ok := u.Due(10 * time.Minute)
			if ok != (tc.last != nil) || ok && !last.Equal(tc.last.Time) || (tc.first != nil) == first.IsZero() || tc.first != nil && !first.Equal(tc.first.Time) {
				t.Errorf("due: %v, first %s, last %s", ok, first, last)
			}
		})
	}
}

func TestUse_BelongsToOneRecordAndSurvivesItsChanges(t *testing.T) {
	x, key := &Keys{}, verifytest.Mint(t)
	put := func(change ...func(*v1alpha1.DGbotAPIKeyRecord)) *Entry {
		_ = x.Put(verifytest.Record(key, change...), 0, 1)
		return x.find(idOf(key))
	}
	before := put()
	// A verification can hold the entry while it is replaced.
	after := put(func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Label = "another" })
	before.Use().Note(verifytest.Epoch)
	if _, last, ok := after.Use().Due(time.Minute); !ok || !last.Equal(verifytest.Epoch) {
		t.Errorf("the use is lost: %v, %s", ok, last)
	}
	duplicate := put(verifytest.Created(-time.Hour, "4a1b0c11-2610-41ab-a832-a339b9abcf1d"))
	if _, _, ok := duplicate.Use().Due(time.Minute); ok || duplicate.use == after.use {
		t.Error("another record with the key ID is taken for used")
	}
}

func idOf(key apikey.Key) keyID { return *(*keyID)([]byte(key.ID())) }
