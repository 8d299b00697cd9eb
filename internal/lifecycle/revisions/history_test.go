// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func revision(number int64) *Revision {
	hash := string(rune('a' + number))
	return &Revision{Number: number, Name: RecordName("crm", "uid", number), Hash: hash, State: v1alpha1.StateActive, IssuedAt: metav1.Time{Time: now}}
}

func holding(hash string) *Secret { return &Secret{State: SecretOwned, Hash: hash} }

// TestHistoryOf_GoesByTheSecret: which revision is in use follows from the bytes in the Secret alone.
func TestHistoryOf_GoesByTheSecret(t *testing.T) {
	one, two := revision(1), revision(2)
	superseded := revision(1)
	superseded.SupersededBy = 2
	for name, tc := range map[string]struct {
		all                []*Revision
		secret             *Secret
		current            *Revision
		matched, published *Revision
	}{
		"the newest":                  {[]*Revision{one, two}, holding(two.Hash), nil, two, two},
		"the previous one":            {[]*Revision{one, two}, holding(one.Hash), two, one, one},
		"one that was superseded":     {[]*Revision{superseded, two}, holding(superseded.Hash), two, superseded, nil},
		"junk":                        {[]*Revision{one, two}, holding("junk"), two, nil, nil},
		"no entry":                    {[]*Revision{one, two}, holding(""), two, nil, nil},
		"another object's":            {[]*Revision{one, two}, &Secret{State: SecretForeign, Hash: two.Hash}, two, nil, nil},
		"unknown":                     {[]*Revision{one, two}, &Secret{State: SecretUnknown}, two, two, nil},
		"unknown, and the record too": {[]*Revision{one}, &Secret{State: SecretUnknown}, two, nil, nil},
	} {
		h := HistoryOf(tc.all, 0, tc.secret, tc.current)
		if h.Matched != tc.matched || h.Published != tc.published {
			t.Errorf("%s: matched %+v, published %+v", name, h.Matched, h.Published)
		}
	}
}

// TestHistory_LostRecordsGrantNothing: a user may delete records, which must not bring back what was taken.
func TestHistory_LostRecordsGrantNothing(t *testing.T) {
	one, two := revision(1), revision(2)
	at := &instant.Horizon{Now: now}
	if h := HistoryOf([]*Revision{one, two}, 2, holding(two.Hash), two); h.NewestLost() || h.Granted(at) != two {
		t.Errorf("nothing is lost: granted by %+v", h.Granted(at))
	}
	if h := HistoryOf([]*Revision{one}, 2, holding(two.Hash), nil); !h.NewestLost() || h.Granted(at) != one {
		t.Errorf("the newest is lost, and an earlier one verifies: granted by %+v", h.Granted(at))
	}
	one.State = v1alpha1.StateRevoked
	if h := HistoryOf([]*Revision{one}, 1, holding(""), two); !h.NewestLost() || h.Granted(at) != nil || h.Highest != 2 {
		t.Errorf("only a revoked one is left: granted by %+v, highest %d", h.Granted(at), h.Highest)
	}
	if h := HistoryOf(nil, 0, holding(""), nil); !h.NewestLost() || h.Granted(at) != nil || h.Reference() != nil {
		t.Errorf("no record: %+v", h)
	}
}

// TestRevision_CorrectJump: one that was issued in the future of the API server counts as issued when its record was created.
func TestRevision_CorrectJump(t *testing.T) {
	for name, tc := range map[string]struct {
		issued, created, read time.Duration
		isServerTime, want    bool
	}{
		"in time":                                 {0, 0, 0, true, false},
		"as far ahead as clocks may differ":       {MaxIssuedAhead, 0, 0, true, false},
		"ahead":                                   {time.Hour, 0, 0, true, true},
		"ahead, read when its time has come":      {time.Hour, 0, 2 * time.Hour, true, true},
		"ahead, by a clock that may be ahead too": {time.Hour, 0, 2 * time.Hour, false, false},
		"still ahead of a clock of any kind":      {time.Hour, 0, 0, false, true},
	} {
		r := revision(1)
		r.IssuedAt, r.CreatedAt = metav1.Time{Time: now.Add(tc.issued)}, metav1.Time{Time: now.Add(tc.created)}
		r.CorrectJump(&instant.Horizon{Now: now.Add(tc.read)}, tc.isServerTime, false)
		if r.IsJumped != tc.want || tc.want != r.IssuedAt.Equal(&r.CreatedAt) && tc.issued != 0 {
			t.Errorf("%s: jumped %t, issued at %s", name, r.IsJumped, r.IssuedAt)
		}
	}
	hmac := revision(1)
	hmac.IssuedAt = metav1.Time{Time: now.Add(time.Hour)}
	if hmac.CorrectJump(&instant.Horizon{Now: now}, true, false); hmac.IsJumped {
		t.Error("an HMAC secret, which the API server does not date, was corrected")
	}
}
