// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/verify/client"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// silentServer is an idle API server: it accepts a watch, sends nothing, and ends the watch after its time. It is used without a
// network, so that a day takes no time.
type silentServer struct {
	began time.Time
	// answering is the time in which it accepts a watch.
	answering time.Duration
	// gone are spans in which it cannot be reached. Watches end at the start of a span.
	gone []span
}

// span is a span of time, relative to the start of the server.
type span struct{ from, until time.Duration }

func (s *silentServer) RoundTrip(r *http.Request) (*http.Response, error) {
	at := time.Since(s.began)
	if slices.ContainsFunc(s.gone, func(g span) bool { return g.from <= at && at < g.until }) {
		return nil, errors.New("connection refused")
	}
	time.Sleep(s.answering)
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		response.Body = io.NopCloser(strings.NewReader(verifytest.End("6")))
		return response, nil
	}
	seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	if err != nil {
		return nil, err
	}
	lasts := time.Duration(seconds) * time.Second
	for _, g := range s.gone {
		if until := g.from - at; until > 0 {
			lasts = min(lasts, until)
		}
	}
	response.Body = &silence{until: time.After(lasts), cut: r.Context().Done()}
	return response, nil
}

// silence is the body of an answer that ends without content.
type silence struct {
	until <-chan time.Time
	cut   <-chan struct{}
}

func (s *silence) Read([]byte) (int, error) {
	select {
	case <-s.until:
		return 0, io.EOF
	case <-s.cut:
		return 0, context.Canceled
	}
}

func (s *silence) Close() error { return nil }

// TestFeed_StaysFreshOnAnIdleDay simulates a day without writes: a verifier that took it for an outage would raise an alert every night, or
// deny accepted keys. Real outages are logged once, which shows that the test would notice one.
func TestFeed_StaysFreshOnAnIdleDay(t *testing.T) {
	const well = starting + ", " + fresh
	for name, tc := range map[string]struct {
		bound     Bound
		answering time.Duration
		gone      []span
		want      string
	}{
		"as it comes":                          {Bound{MaxStaleness: 2 * time.Minute}, 3 * time.Millisecond, nil, well},
		"an API server that is slow":           {Bound{MaxStaleness: 2 * time.Minute}, 2 * time.Second, nil, well},
		"the least bound":                      {Bound{MaxStaleness: minStaleness}, 3 * time.Millisecond, nil, well},
		"the least bound, slow":                {Bound{MaxStaleness: minStaleness}, time.Second, nil, well},
		"a large bound":                        {Bound{MaxStaleness: time.Hour}, 3 * time.Millisecond, nil, well},
		"an API server restarted twice":        {Bound{MaxStaleness: 2 * time.Minute}, 3 * time.Millisecond, []span{{time.Hour, time.Hour + 20*time.Second}, {2 * time.Hour, 2*time.Hour + 20*time.Second}}, well},
		"one that is gone for a while":         {Bound{MaxStaleness: 2 * time.Minute}, 3 * time.Millisecond, []span{{time.Hour, time.Hour + 70*time.Second}}, well + ", " + late + ", " + fresh},
		"one that is gone for too long":        {Bound{MaxStaleness: 2 * time.Minute}, 3 * time.Millisecond, []span{{time.Hour, 2 * time.Hour}}, well + ", " + late + ", " + stale + ", " + fresh},
		"one that is gone, and serve is asked": {Bound{MaxStaleness: 2 * time.Minute, Serve: true}, 3 * time.Millisecond, []span{{time.Hour, 2 * time.Hour}}, well + ", " + late + ", " + serving + ", " + fresh},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if told := strings.Join(idleDay(t, tc.bound, &silentServer{began: time.Now(), answering: tc.answering, gone: tc.gone}), ", "); told != tc.want {
					t.Errorf("the log tells of\n%s\nwant\n%s", told, tc.want)
				}
			})
		})
	}
}

// idleDay runs a feed for a day, and returns the conditions of its freshness from its log.
func idleDay(t *testing.T, bound Bound, server *silentServer) (told []string) {
	t.Helper()
	client, err := client.ForRecords(&rest.Config{Host: "http://silent.test", Transport: server})
	if err != nil {
		t.Fatal(err)
	}
	log := funcr.New(func(_, line string) { told = append(told, strings.Split(line, `"`)[5]) }, funcr.Options{})
	v := New(client, client, Options{Identity: true, Bound: bound}, prometheus.NewRegistry(), log.V(1))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, w := range v.watchers {
		group.Go(func() { w.run(ctx) })
	}
	group.Go(func() { v.KeyFreshness.report(ctx, log) })
	day := 24 * time.Hour
	if testing.Short() {
		day = 3 * time.Hour // past all outages
	}
	time.Sleep(day)
	if age := v.ChatbotFreshness.age(v.pulse.moment()); len(server.gone) == 0 && age > lagging {
		t.Errorf("the HMAC secrets are %s old", age)
	}
	cancel()
	group.Wait()
	return told
}
