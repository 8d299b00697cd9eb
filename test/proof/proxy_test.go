// SPDX-License-Identifier: Apache-2.0

package proof

import (
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

	mutex  sync.Mutex
	thawed chan struct{} // closed unless it is frozen
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
	p.server = httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(address) },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
		FlushInterval:  -1,
		ErrorLog:       silent,
		ModifyResponse: p.hold,
	})
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

func (p *proxy) hold(r *http.Response) error {
	isWatch := r.Request.URL.Query().Get("watch") != ""
	if isWatch && strings.HasSuffix(r.Request.URL.Path, "/"+p.resource) {
		r.Body = &heldBody{ReadCloser: r.Body, proxy: p, request: r.Request}
	}
	return nil
}

// heldBody delivers what it has read only while the proxy is open.
type heldBody struct {
	io.ReadCloser
	proxy   *proxy
	request *http.Request
}

func (b *heldBody) Read(buffer []byte) (int, error) {
	n, err := b.ReadCloser.Read(buffer)
	select {
	case <-b.proxy.open():
		return n, err
	case <-b.request.Context().Done():
		return 0, b.request.Context().Err()
	}
}
