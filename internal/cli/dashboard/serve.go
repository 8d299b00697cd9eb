// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"time"
)

const (
	// maxStreams bounds the browser tabs that follow at once.
	maxStreams = 16
	// pause is the least time between two views of a stream: a thousand keys that rotate at once are one change to look at.
	pause = 500 * time.Millisecond
	// heartbeat is the longest time between two views. It shows the browser that the program still runs.
	heartbeat = 15 * time.Second
	// writeTime is how long a browser has to take a view.
	writeTime = 10 * time.Second
)

//go:embed page.html.tmpl
var source string

var pageTemplate = template.Must(template.New("page").Parse(source))

// page serves the page and its stream of views, at an address with a random part. A page of another origin cannot guess the address, and the
// check of Host rejects one that got it by a name of its own for this machine (DNS rebinding).
type page struct {
	host, secret string
	view         func() view
	changed      func() <-chan struct{}
	streams      chan struct{}
}

func newPage(host string, view func() view, changed func() <-chan struct{}) *page {
	return &page{host: host, secret: rand.Text(), view: view, changed: changed, streams: make(chan struct{}, maxStreams)}
}

// address is where the page is.
func (p *page) address() string { return "http://" + p.host + "/" + p.secret + "/" }

// ServeHTTP answers requests for the page and for its stream, and no others.
func (p *page) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	header := answer.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	switch {
	case !p.isHere(request.Host):
		http.Error(answer, "open the address that kubectl dgbot dashboard printed", http.StatusMisdirectedRequest)
	case request.Method != http.MethodGet:
		header.Set("Allow", http.MethodGet)
		http.Error(answer, "the dashboard is read-only", http.StatusMethodNotAllowed)
	case p.names(request.URL.Path, ""):
		p.servePage(answer)
	case p.names(request.URL.Path, "views"):
		p.serveViews(answer, request)
	default:
		http.NotFound(answer, request)
	}
}

// isHere reports whether a Host is this listener, by its address or as localhost.
func (p *page) isHere(host string) bool {
	_, port, _ := net.SplitHostPort(p.host)
	return host == p.host || host == "localhost:"+port
}

// names reports whether a path is that of a file of the page. It takes the same time whatever of it is right.
func (p *page) names(path, file string) bool {
	return subtle.ConstantTimeCompare([]byte(path), []byte("/"+p.secret+"/"+file)) == 1
}

func (p *page) servePage(answer http.ResponseWriter) {
	nonce := rand.Text()
	answer.Header().Set("Content-Type", "text/html; charset=utf-8")
	answer.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+nonce+"'; style-src 'nonce-"+nonce+
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
	_ = pageTemplate.Execute(answer, struct{ Nonce string }{nonce})
}

// serveViews sends a view at once, and another after each change and heartbeat, as server-sent events.
func (p *page) serveViews(answer http.ResponseWriter, request *http.Request) {
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		http.Error(answer, "too many tabs follow this dashboard: close some", http.StatusServiceUnavailable)
		return
	}
	answer.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(answer)
	for {
		changed := p.changed() // before the view, so that no change after it is missed
		text, err := json.Marshal(p.view())
		if err != nil {
			return
		}
		if err := stream.SetWriteDeadline(time.Now().Add(writeTime)); err != nil { //nolint:forbidigo // a deadline of the connection, by the clock of the system
			return
		}
		if _, err := answer.Write(append(append([]byte("data: "), text...), "\n\n"...)); err != nil {
			return
		}
		if err := stream.Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-time.After(heartbeat):
		case <-request.Context().Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-request.Context().Done():
			return
		}
	}
}
