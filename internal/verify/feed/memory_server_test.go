// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/verify/client"
)

// handlerTransport serves requests from a handler without a network, so that tests can run in a synctest bubble, where an
// hour passes at once.
type handlerTransport struct {
	handler http.HandlerFunc
	// refusal, if it returns an error, is the outcome of a request that reaches no server.
	refusal func() error
}

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.refusal != nil {
		if err := h.refusal(); err != nil {
			return nil, err
		}
	}
	body, writer := io.Pipe()
	w := &pipedResponse{header: http.Header{}, body: writer, started: make(chan struct{})}
	go func() {
		h.handler(w, r)
		w.WriteHeader(http.StatusOK)
		_ = writer.Close()
	}()
	select {
	case <-w.started:
	case <-r.Context().Done():
		_ = body.Close()
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: w.code, Status: http.StatusText(w.code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: body, ContentLength: -1, Request: r,
	}, nil
}

type pipedResponse struct {
	header  http.Header
	body    *io.PipeWriter
	once    sync.Once
	code    int
	started chan struct{}
}

func (w *pipedResponse) Header() http.Header { return w.header }

func (w *pipedResponse) WriteHeader(code int) {
	w.once.Do(func() {
		w.code = code
		close(w.started)
	})
}

func (w *pipedResponse) Write(content []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(content)
}

// breakOff ends an answer as a connection that is lost does.
func breakOff(w http.ResponseWriter) {
	if piped, ok := w.(*pipedResponse); ok {
		piped.WriteHeader(http.StatusOK)
		_ = piped.body.CloseWithError(io.ErrUnexpectedEOF)
	}
}

var errConnectionRefused = errors.New("connection refused")

// isList reports whether a request is for a complete list: streamed, or in pages.
func isList(r *http.Request) bool {
	query := r.URL.Query()
	return query.Get("sendInitialEvents") == "true" || query.Get("watch") == ""
}

// answerOpen accepts a watch. The events, if any, are sent at once.
func answerOpen(w http.ResponseWriter, lines ...string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, strings.Join(lines, "\n"))
}

// lastItsTime keeps an accepted watch open for as long as was asked for, as an idle API server does.
func lastItsTime(r *http.Request) {
	seconds, _ := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	stay(r, time.Duration(seconds)*time.Second)
}

func stay(r *http.Request, span time.Duration) {
	select {
	case <-time.After(span):
	case <-r.Context().Done():
	}
}

// inBubble runs a verifier's watch of records against a transport, for a test in a synctest bubble.
func inBubble(t *testing.T, bound Bound, transport handlerTransport, test func(t *testing.T, v *Feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, err := client.ForRecords(&rest.Config{Host: "http://api", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		v := New(client, client, Options{Bound: bound}, prometheus.NewRegistry(), logr.Discard())
		whileRunning(t, v.watchers[0], func() { test(t, v) })
	})
}

// secretsInBubble does the same with the watch of HMAC secrets.
func secretsInBubble(t *testing.T, transport handlerTransport, test func(t *testing.T, v *Feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, err := client.ForSecrets(&rest.Config{Host: "http://api", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		v := New(client, client, Options{Bound: denyAfter2m}, prometheus.NewRegistry(), logr.Discard())
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
