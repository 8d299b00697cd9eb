// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestFeed_ListsAgainOnceThereMayBeRoom: with room for one of two records it is incomplete. After one is gone it lists, and has the other.
func TestFeed_ListsAgainOnceThereMayBeRoom(t *testing.T) {
	first, second := verifytest.Mint(t), verifytest.Mint(t)
	added := func(i int) string {
		key, uid := first, "a"
		if i > 0 {
			key, uid = second, "b"
		}
		return verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(key, verifytest.Created(0, types.UID(uid))), "5"))
	}
	var isGone atomic.Bool
	var lists atomic.Int64
	transport := verifytest.Transport{Handler: func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !verifytest.IsList(r):
			verifytest.Accept(w)
			verifytest.KeepOpen(r)
		case isGone.Load():
			lists.Add(1)
			verifytest.Accept(w, added(1), verifytest.End("7"))
		default:
			lists.Add(1)
			verifytest.Accept(w, added(0), added(1), verifytest.End("6"))
		}
	}}
	synctest.Test(t, func(t *testing.T) {
		client, err := client.ForRecords(&rest.Config{Host: "http://api", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		registry := prometheus.NewRegistry()
		f := New(client, client, Options{Limits: index.Limits{Records: 1}, Bound: denyAfter2m}, registry, logr.Discard())
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.Run(ctx) })
		time.Sleep(time.Minute)
		if f.KeyFreshness.Complete() || !f.KeyFreshness.Synced() || !f.knows(first) || f.knows(second) || lists.Load() != 1 {
			t.Errorf("complete: %t, synced: %t, %d lists", f.KeyFreshness.Complete(), f.KeyFreshness.Synced(), lists.Load())
		}
		if n, err := testutil.GatherAndCount(registry, "dgbot_verifier_ignored_objects_total"); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		isGone.Store(true)
		time.Sleep(fullPause + time.Minute)
		if f.KeyFreshness.Complete() || lists.Load() != 2 {
			// The earlier record is swept after the list in which the other one found no room.
			t.Errorf("complete: %t after %d lists", f.KeyFreshness.Complete(), lists.Load())
		}
		time.Sleep(fullPause + time.Minute)
		if !f.KeyFreshness.Complete() || f.knows(first) || !f.knows(second) || lists.Load() != 3 {
			t.Errorf("complete: %t, %d lists", f.KeyFreshness.Complete(), lists.Load())
		}
		time.Sleep(time.Hour)
		if lists.Load() != 3 {
			t.Errorf("%d lists of a complete index", lists.Load())
		}
		cancel()
		running.Wait()
	})
}
