// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestLooksAreSpreadAndNeverFartherApartThanTheInterval(t *testing.T) {
	start := time.Now()
	const keys, buckets, interval = 10_000, 10, time.Hour
	var first [buckets]int
	for i := range keys {
		uid := types.UID(fmt.Sprintf("6f1c7a52-0000-4000-8000-%012d", i))
		next := nextLook(uid, start, interval)
		if wait := next.Sub(start); wait <= 0 || wait > interval {
			t.Fatalf("%s: the first look is after %s", uid, wait)
		}
		first[next.Sub(start)*buckets/(interval+1)]++
		if again := nextLook(uid, next, interval); again.Sub(next) != interval {
			t.Fatalf("%s: the look after is %s later", uid, again.Sub(next))
		}
		// A look that was made for another reason does not move the schedule.
		if between := nextLook(uid, start.Add(next.Sub(start)/2), interval); !between.Equal(next) {
			t.Fatalf("%s: the schedule moved from %s to %s", uid, next, between)
		}
	}
	for i, n := range first {
		if n < keys/buckets*8/10 || n > keys/buckets*12/10 {
			t.Errorf("%d of %d looks come in tenth %d of the interval: %v", n, keys, i, first)
			break
		}
	}
}

func TestALookIsGoodForItsKeyAndItsTime(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Name: "crm", UID: "uid"}}
	mine := &secretFacts{metadata: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.APIKeyLabel: "uid"}}}
	foreign := &secretFacts{}
	at := time.Now()
	instant := nextLook(key.UID, at, time.Hour)
	for name, test := range map[string]struct {
		look look
		now  time.Time
		want bool
	}{
		"just made":               {look{"uid", mine, at}, at, true},
		"until the next instant":  {look{"uid", mine, at}, instant.Add(-1), true},
		"not at the instant":      {look{"uid", mine, at}, instant, false},
		"of no Secret":            {look{"uid", nil, at}, instant.Add(-1), true},
		"of another key":          {look{"other", mine, at}, at, false},
		"from the future":         {look{"uid", mine, at}, at.Add(-1), false},
		"foreign, within minute":  {look{"uid", foreign, instant}, instant.Add(time.Minute - 1), true},
		"foreign, after a minute": {look{"uid", foreign, instant}, instant.Add(time.Minute), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.look.current(key, test.now, time.Hour); got != test.want {
				t.Errorf("current is %t, want %t", got, test.want)
			}
		})
	}
}
