// SPDX-License-Identifier: Apache-2.0

package ranks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
)

// keyReader lists keys, and counts how many it has listed.
type keyReader struct {
	client.Reader
	keys         []v1alpha1.DGbotAPIKey
	lists, items int
}

func (r *keyReader) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	list, ok := into.(*v1alpha1.DGbotAPIKeyList)
	if !ok {
		return fmt.Errorf("want a list of keys, not %T", into)
	}
	list.Items = slices.Clone(r.keys)
	r.lists++
	r.items += len(r.keys)
	return nil
}

var epoch = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// aged returns a key that was created some seconds after the epoch.
func aged(seconds int, uid string) *v1alpha1.DGbotAPIKey {
	return &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(seconds) * time.Second))},
		Spec:       v1alpha1.DGbotAPIKeySpec{Environment: "production"},
	}
}

func forChatbot(key *v1alpha1.DGbotAPIKey, name string) *v1alpha1.DGbotAPIKey {
	key = key.DeepCopy()
	key.Spec.ChatbotRef = nil
	if name != "" {
		key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: name}
	}
	return key
}

func deleting(key *v1alpha1.DGbotAPIKey) *v1alpha1.DGbotAPIKey {
	key = key.DeepCopy()
	key.DeletionTimestamp = new(metav1.NewTime(epoch))
	return key
}

// countedRanks returns a key's ranks as a walk over all keys counts them.
func countedRanks(keys []*v1alpha1.DGbotAPIKey, key *v1alpha1.DGbotAPIKey) (rank, chatbotRank int) {
	rank, chatbotRank = 1, 1
	for _, other := range keys {
		if other.UID == key.UID || !other.DeletionTimestamp.IsZero() || ageOf(other).compare(ageOf(key)) > 0 {
			continue
		}
		rank++
		if a, b := other.Spec.ChatbotRef, key.Spec.ChatbotRef; a != nil && b != nil && a.Name == b.Name {
			chatbotRank++
		}
	}
	return rank, chatbotRank
}

// TestKeyRanks_FollowEvents: after any events, in any order between keys, the kept order is the one that a walk over all keys counts.
func TestKeyRanks_FollowEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cached := &keyReader{}
	ranks := &Index{Kept: true}
	var keys []*v1alpha1.DGbotAPIKey
	if _, _, err := ranks.Of(t.Context(), cached, aged(0, "first")); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		switch at := random.IntN(len(keys) + 1); {
		case at == len(keys) || random.IntN(3) == 0:
			key := forChatbot(aged(random.IntN(50), fmt.Sprintf("uid-%d", i)), []string{"", "a", "b"}[random.IntN(3)])
			keys = append(keys, key)
			cached.keys = append(cached.keys, *key)
			ranks.Observe(nil, key)
		case random.IntN(2) == 0:
			ranks.Observe(keys[at], nil)
			ranks.Observe(keys[at], nil) // an event that is delivered again changes nothing
			keys, cached.keys = slices.Delete(keys, at, at+1), slices.Delete(cached.keys, at, at+1)
		default:
			changed := forChatbot(keys[at], []string{"", "a", "b"}[random.IntN(3)])
			if random.IntN(4) == 0 {
				changed = deleting(changed)
			}
			ranks.Observe(keys[at], changed)
			keys[at], cached.keys[at] = changed, *changed
		}
		for _, key := range keys {
			wantRank, wantChatbotRank := countedRanks(keys, key)
			rank, chatbotRank, err := ranks.Of(t.Context(), cached, key)
			if err != nil || rank != wantRank || key.Spec.ChatbotRef != nil && chatbotRank != wantChatbotRank {
				t.Fatalf("after event %d, %s has ranks %d and %d (%v), want %d and %d", i, key.UID, rank, chatbotRank, err, wantRank, wantChatbotRank)
			}
		}
	}
	if cached.lists > 40 {
		t.Errorf("the cache was listed %d times for 2,000 events", cached.lists)
	}
}

// createKeys has n keys of one second look up their ranks as often as it takes to issue them, and returns how many keys were read.
func createKeys(tb testing.TB, n int) (read int) {
	tb.Helper()
	cached, live := &keyReader{}, &keyReader{}
	ranks := &Index{Kept: true}
	for i := range n {
		key := aged(i/50, fmt.Sprintf("uid-%04d", i))
		live.keys, cached.keys = append(live.keys, *key), append(cached.keys, *key)
		ranks.Observe(nil, key)
	}
	now := func() time.Time { return epoch.Add(time.Hour) }
	for i := range live.keys {
		key := &live.keys[i]
		for range 2 {
			if _, _, err := ranks.Of(tb.Context(), cached, key); err != nil {
				tb.Fatal(err)
			}
		}
		rank, _, err := ranks.Confirmed(tb.Context(), cached, live, key, now)
		if err != nil || rank != i+1 {
			tb.Fatalf("key %d has rank %d, %v", i, rank, err)
		}
	}
	return cached.items + live.items
}

// TestKeyRanks_ReadEachKeyAFewTimes: counting the keys for each key would read n² of them.
func TestKeyRanks_ReadEachKeyAFewTimes(t *testing.T) {
	for _, n := range []int{50, 800} {
		if read := createKeys(t, n); read > 3*n {
			t.Errorf("%d keys were read to rank %d, want at most three times as many", read, n)
		}
	}
}

// BenchmarkKeyRanks reports how many keys are read for each key that is ranked: the figure must not depend on how many there are.
func BenchmarkKeyRanks(b *testing.B) {
	for _, n := range []int{100, 800, 6400} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			read := 0
			for range b.N {
				read += createKeys(b, n)
			}
			b.ReportMetric(float64(read)/float64(n*b.N), "read/key")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/key")
		})
	}
}

// TestKeyRanks_ConfirmByAListThatShowsOlderKeys: a first issue uses a live list that began after all older keys had appeared.
func TestKeyRanks_ConfirmByAListThatShowsOlderKeys(t *testing.T) {
	first, second, third := aged(0, "a"), aged(1, "b"), aged(60, "c")
	for name, test := range map[string]struct {
		// confirmed is when first was confirmed, with first and second listed; happens is what happens after that.
		confirmed time.Duration
		happens   func(*Index, *keyReader)
		key       *v1alpha1.DGbotAPIKey
		now       time.Duration
		lists     int
		rank      int
	}{
		"the same key again":                            {3 * time.Second, func(*Index, *keyReader) {}, first, 4 * time.Second, 1, 1},
		"a younger key, which had not been counted yet": {3 * time.Second, func(*Index, *keyReader) {}, second, 4 * time.Second, 2, 2},
		"a key that the cache lacks an older one of": {3 * time.Second, func(_ *Index, live *keyReader) {
			live.keys = append(live.keys, *third, *aged(30, "d"))
		}, third, 2 * time.Minute, 2, 4},
		"a list that seems to be younger by a clock that was ahead": {time.Minute, func(_ *Index, live *keyReader) {
			live.keys = append(live.keys, *aged(1, "aa"), *aged(1, "ab"))
		}, aged(1, "ab"), 2 * time.Minute, 2, 3},
		"an older key that was deleted since": {3 * time.Second, func(ranks *Index, live *keyReader) {
			live.keys = live.keys[1:]
			ranks.Observe(first, nil)
		}, second, 4 * time.Second, 2, 1},
		"an older key that is being deleted since": {3 * time.Second, func(ranks *Index, live *keyReader) {
			live.keys[0] = *deleting(first)
			ranks.Observe(first, deleting(first))
		}, second, 4 * time.Second, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cached, live := &keyReader{keys: []v1alpha1.DGbotAPIKey{*first, *second}}, &keyReader{keys: []v1alpha1.DGbotAPIKey{*first, *second}}
			ranks := &Index{Kept: true}
			at := test.confirmed
			now := func() time.Time { return epoch.Add(at) }
			if rank, _, err := ranks.Confirmed(t.Context(), cached, live, first, now); rank != 1 || err != nil {
				t.Fatalf("rank %d, %v", rank, err)
			}
			test.happens(ranks, live)
			at = test.now
			rank, _, err := ranks.Confirmed(t.Context(), cached, live, test.key, now)
			if err != nil || rank != test.rank || live.lists != test.lists {
				t.Errorf("rank %d after %d live lists (%v), want rank %d after %d", rank, live.lists, err, test.rank, test.lists)
			}
		})
	}
}

// TestKeyRanks_WakeAGroupOnce: a thousand keys that go wake the others once in queue.UsageDelay, each group by itself.
func TestKeyRanks_WakeAGroupOnce(t *testing.T) {
	ranks := &Index{}
	production, staging := Group{"support", "production"}, Group{"support", "staging"}
	for _, step := range []struct {
		name  Group
		after time.Duration
		want  bool
	}{
		{production, 0, true}, {production, 0, false}, {staging, 0, true}, {production, queue.UsageDelay - 1, false},
		{production, queue.UsageDelay, true}, {staging, queue.UsageDelay, true}, {production, queue.UsageDelay + 1, false},
		{production, -time.Hour, true}, // the clock was set back
	} {
		if got := ranks.Wakes(step.name, epoch.Add(step.after)); got != step.want {
			t.Errorf("%v after %s: woken is %t", step.name, step.after, got)
		}
	}
}
