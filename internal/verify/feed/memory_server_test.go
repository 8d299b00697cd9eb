// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// inBubble runs a verifier's watch of records against a transport, for a test in a synctest bubble.
func inBubble(t *testing.T, bound Bound, transport verifytest.Transport, test func(t *testing.T, v *Feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, err := client.ForRecords(&rest.Config{Host: "http://api", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		v := New(client, client, Options{Identity: true, Bound: bound}, prometheus.NewRegistry(), logr.Discard())
		whileRunning(t, v.watchers[0], func() { test(t, v) })
	})
}

// secretsInBubble does the same with the watch of HMAC secrets.
func secretsInBubble(t *testing.T, transport verifytest.Transport, test func(t *testing.T, v *Feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, err := client.ForSecrets(&rest.Config{Host: "http://api", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		v := New(client, client, Options{Identity: true, Bound: denyAfter2m}, prometheus.NewRegistry(), logr.Discard())
		whileRunning(t, v.watchers[len(v.watchers)-1], func() { test(t, v) })
	})
}

func whileRunning(t *testing.T, w *watcher, test func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) })
	test()
	cancel()
	running.Wait()
}
