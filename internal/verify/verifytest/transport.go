// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Transport serves requests from a handler without a network, so that tests can run in a synctest bubble, in which an hour
// passes at once.
type Transport struct {
	Handler http.HandlerFunc
	// Fail, unless it is nil, is called before each request. If it returns an error, the request fails with it.
	Fail func() error
}

// RoundTrip implements http.RoundTripper.
func (h Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.Fail != nil {
		if err := h.Fail(); err != nil {
			return nil, err
		}
	}
	body, writer := io.Pipe()
	w := &pipedResponse{header: http.Header{}, body: writer, started: make(chan struct{})}
	go func() {
		h.Handler(w, r)
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

// BreakOff ends an answer as a lost connection does.
func BreakOff(w http.ResponseWriter) {
	if piped, ok := w.(*pipedResponse); ok {
		piped.WriteHeader(http.StatusOK)
		_ = piped.body.CloseWithError(io.ErrUnexpectedEOF)
	}
}

// ErrConnectionRefused stands for the error of a request that reaches no server.
var ErrConnectionRefused = errors.New("connection refused")

// IsList reports whether a request asks for a complete list: streamed, or in pages.
func IsList(r *http.Request) bool {
	query := r.URL.Query()
	return query.Get("sendInitialEvents") == "true" || query.Get("watch") == ""
}

// Accept accepts a watch, and sends events at once.
func Accept(w http.ResponseWriter, lines ...string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, strings.Join(lines, "\n"))
}

// KeepOpen keeps an accepted watch open for the requested time, as an idle API server does.
func KeepOpen(r *http.Request) {
	seconds, _ := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	Hold(r, time.Duration(seconds)*time.Second)
}

// Hold returns after a time, or when the client cancels the request.
func Hold(r *http.Request, span time.Duration) {
	select {
	case <-time.After(span):
	case <-r.Context().Done():
	}
}

// Events returns a handler that sends the events of a watch, and ends it.
func Events(lines ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, strings.Join(lines, "\n"))
	}
}

// Event returns an event of a watch as JSON.
func Event(kind string, object any) string {
	text, _ := json.Marshal(map[string]any{"type": kind, "object": object})
	return string(text)
}

// End returns the bookmark after the last record of a streamed list.
func End(version string) string {
	bookmark := Typed(&v1alpha1.DGbotAPIKeyRecord{}, version)
	bookmark.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	return Event("BOOKMARK", bookmark)
}
