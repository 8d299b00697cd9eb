// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// proxy stands between a program and the API server. It can freeze the watches of a resource: what they send waits, and everything else passes.
type proxy struct {
	server   *httptest.Server
	resource string
	// withLists makes it freeze lists of the resource as well. It is set before use.
	withLists bool
	// forbids makes it answer requests that read the resource with 403, as an API server does whose roles do not have the right. It is set before use.
	forbids bool

	mutex  sync.Mutex
	thawed chan struct{} // closed unless it is frozen
	held   int           // answers that wait
}

func newProxy(t *testing.T, resource string) *proxy {
	t.Helper()
	p := &proxy{resource: resource, thawed: make(chan struct{})}
	close(p.thawed)
	address, err := url.Parse(world.Config.Host)
	must(t, err)
	if address.Scheme == "" {
		address = &url.URL{Scheme: "https", Host: world.Config.Host}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(world.Config.CAData)
	silent := log.New(io.Discard, "", 0)
	passes := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(address) },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
		FlushInterval:  -1,
		ErrorLog:       silent,
		ModifyResponse: p.hold,
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.forbids && r.Method == http.MethodGet && p.concerns(r) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"`+p.resource+` is forbidden","reason":"Forbidden","code":403}`)
			return
		}
		passes.ServeHTTP(w, r)
	}))
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = silent
	p.server.StartTLS()
	t.Cleanup(func() {
		p.thaw()
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// config returns a configuration that leads through the proxy with the credentials of another.
func (p *proxy) config(of *rest.Config) *rest.Config {
	through := rest.CopyConfig(of)
	through.Host = p.server.URL
	through.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	return through
}

func (p *proxy) freeze() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.thawed = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	select {
	case <-p.thawed:
	default:
		close(p.thawed)
	}
}

func (p *proxy) open() <-chan struct{} {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.thawed
}

// concerns reports whether a request is for all objects of the resource.
func (p *proxy) concerns(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/"+p.resource) }

func (p *proxy) hold(r *http.Response) error {
	isWatch := r.Request.URL.Query().Get("watch") != ""
	if p.concerns(r.Request) && r.Request.Method == http.MethodGet && (isWatch || p.withLists) {
		r.Body = &heldBody{ReadCloser: r.Body, proxy: p, request: r.Request}
	}
	return nil
}

// waiting returns how many answers wait until the proxy thaws.
func (p *proxy) waiting() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.held
}

func (p *proxy) wait(ctx context.Context) error {
	thawed := p.open()
	select {
	case <-thawed:
		return nil
	default:
	}
	p.count(1)
	defer p.count(-1)
	select {
	case <-thawed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *proxy) count(change int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.held += change
}

// heldBody delivers what it has read only while the proxy is open.
type heldBody struct {
	io.ReadCloser
	proxy   *proxy
	request *http.Request
}

func (b *heldBody) Read(buffer []byte) (int, error) {
	n, err := b.ReadCloser.Read(buffer)
	if stopped := b.proxy.wait(b.request.Context()); stopped != nil {
		return 0, stopped
	}
	return n, err
}
