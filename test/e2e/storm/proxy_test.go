// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// proxy stands between a manager and the API server. It breaks a share of the writes before or after they have happened,
// and can hold back what watches say.
type proxy struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy

	share  atomic.Int64 // of 1,000 writes
	frozen atomic.Bool
	broken sync.Map // how often which fault was made: string → *atomic.Int64
}

// fault is what happens to a write. Where it says that the write happens, it has happened when the manager hears of it.
type fault struct {
	name string
	do   func(p *proxy, w http.ResponseWriter, r *http.Request)
}

// faults are what API servers, etcd and load balancers do to a write.
var faults = []fault{
	{"connection lost before", func(*proxy, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{"connection lost after", func(p *proxy, _ http.ResponseWriter, r *http.Request) {
		p.happen(r)
		panic(http.ErrAbortHandler)
	}},
	// What an API server answers when etcd does not: a plain 500 that says nothing about the write.
	{"etcd timeout before", func(_ *proxy, w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusInternalServerError, 0) }},
	{"etcd timeout after", func(p *proxy, w http.ResponseWriter, r *http.Request) {
		p.happen(r)
		answer(w, http.StatusInternalServerError, 0)
	}},
	// With Retry-After client-go repeats the write by itself, whatever it was.
	{"asked to retry before", func(_ *proxy, w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusTooManyRequests, 1) }},
	{"asked to retry after", func(p *proxy, w http.ResponseWriter, r *http.Request) {
		p.happen(r)
		answer(w, http.StatusGatewayTimeout, 1)
	}},
	// A load balancer that repeats requests answers with what the second one got.
	{"done twice", func(p *proxy, w http.ResponseWriter, r *http.Request) {
		second := r.Clone(r.Context())
		body := readBody(r)
		second.Body = io.NopCloser(bytes.NewReader(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.happen(r)
		p.forward.ServeHTTP(w, second)
	}},
	{"late before", func(p *proxy, w http.ResponseWriter, r *http.Request) {
		pause(r.Context(), rand.N(3*time.Second))
		p.forward.ServeHTTP(w, r)
	}},
	{"late after", func(p *proxy, w http.ResponseWriter, r *http.Request) {
		done := httptest.NewRecorder()
		p.forward.ServeHTTP(done, r)
		pause(r.Context(), rand.N(3*time.Second))
		for name, values := range done.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(done.Code)
		_, _ = w.Write(done.Body.Bytes())
	}},
}

func newProxy(target *rest.Config) (*proxy, error) {
	address, err := url.Parse(target.Host)
	if err != nil {
		return nil, err
	}
	if address.Scheme == "" {
		address = &url.URL{Scheme: "https", Host: target.Host}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(target.CAData) {
		return nil, errors.New("no CA of the API server")
	}
	p := &proxy{}
	p.forward = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(address) },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 100},
		FlushInterval:  -1,
		ErrorLog:       log.New(io.Discard, "", 0),
		ModifyResponse: p.holdWatches,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = p.forward.ErrorLog
	p.server.StartTLS()
	return p, nil
}

// config returns a config that leads through the proxy with the credentials of another.
func (p *proxy) config(of *rest.Config) *rest.Config {
	through := rest.CopyConfig(of)
	through.Host = p.server.URL
	through.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	return through
}

// ServeHTTP breaks a write or lets it pass.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || rand.Int64N(1000) >= p.share.Load() {
		p.forward.ServeHTTP(w, r)
		return
	}
	chosen := faults[rand.IntN(len(faults))]
	count, _ := p.broken.LoadOrStore(chosen.name, new(atomic.Int64))
	if n, ok := count.(*atomic.Int64); ok {
		n.Add(1)
	}
	chosen.do(p, w, r)
}

// happen lets a write happen and keeps the answer back. The manager may be killed meanwhile: that ends its request here
// as it would at the API server.
func (p *proxy) happen(r *http.Request) {
	p.forward.ServeHTTP(httptest.NewRecorder(), r)
}

// counts are how often each fault was made.
func (p *proxy) counts(into map[string]int64) {
	p.broken.Range(func(name, count any) bool {
		text, _ := name.(string)
		if n, ok := count.(*atomic.Int64); ok {
			into[text] += n.Load()
		}
		return true
	})
}

func (p *proxy) close() {
	p.frozen.Store(false)
	p.server.CloseClientConnections()
	p.server.Close()
}

// holdWatches makes a manager's cache old while frozen is set.
func (p *proxy) holdWatches(response *http.Response) error {
	if strings.Contains(response.Request.URL.RawQuery, "watch=true") {
		response.Body = &heldBody{ReadCloser: response.Body, held: &p.frozen, done: response.Request.Context()}
	}
	return nil
}

type heldBody struct {
	io.ReadCloser
	held *atomic.Bool
	done context.Context //nolint:containedctx // the request's: a body lives no longer
}

func (b *heldBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	for b.held.Load() && b.done.Err() == nil {
		pause(b.done, 20*time.Millisecond)
	}
	return n, err
}

func readBody(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return body
}

func pause(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}

func answer(w http.ResponseWriter, code int, retryAfter int) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Message: "etcdserver: request timed out",
	}
	switch code {
	case http.StatusTooManyRequests:
		status.Reason = metav1.StatusReasonTooManyRequests
	case http.StatusGatewayTimeout:
		status.Reason = metav1.StatusReasonTimeout
	default:
		status.Reason = metav1.StatusReasonInternalError
	}
	if retryAfter > 0 {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(retryAfter)}
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(status)
}
