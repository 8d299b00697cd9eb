// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
)

// served is a page whose keys a test changes.
type served struct {
	*page
	url    string
	keys   []*v1alpha1.DGbotAPIKey
	change chan struct{}
}

func serve(t *testing.T, keys ...*v1alpha1.DGbotAPIKey) *served {
	t.Helper()
	s := &served{keys: keys, change: make(chan struct{})}
	var handler http.Handler
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) { handler.ServeHTTP(answer, request) }))
	s.page = newPage(server.Listener.Addr().String(), func() view { return viewOf(s.keys, "all namespaces", clitest.Now, nil) }, func() <-chan struct{} { return s.change })
	handler, s.url = s.page, s.address()
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // open streams would keep Close waiting
	return s
}

// answer is one whose body is closed at the end of the test, or before.
type answer struct {
	status int
	header http.Header
	body   io.ReadCloser
}

func get(t *testing.T, method, url, host string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return answer{response.StatusCode, response.Header, response.Body}
}

// TestPage_AnswersOnlyWhoHasTheAddress: another page of the browser, a name of its own for this machine, or a guess get nothing.
func TestPage_AnswersOnlyWhoHasTheAddress(t *testing.T) {
	s := serve(t, clitest.Healthy("web"))
	_, port, _ := strings.Cut(s.host, ":")
	for name, tc := range map[string]struct {
		method, url, host string
		want              int
	}{
		"the page":                      {http.MethodGet, s.url, "", http.StatusOK},
		"by the name localhost":         {http.MethodGet, s.url, "localhost:" + port, http.StatusOK},
		"by another name (rebinding)":   {http.MethodGet, s.url, "evil.example:" + port, http.StatusMisdirectedRequest},
		"the stream, by another name":   {http.MethodGet, s.url + "views", "evil.example", http.StatusMisdirectedRequest},
		"without the random part":       {http.MethodGet, "http://" + s.host + "/", "", http.StatusNotFound},
		"the stream without it":         {http.MethodGet, "http://" + s.host + "/views", "", http.StatusNotFound},
		"another random part":           {http.MethodGet, "http://" + s.host + "/" + strings.Repeat("A", len(s.secret)) + "/views", "", http.StatusNotFound},
		"another file":                  {http.MethodGet, s.url + "keys", "", http.StatusNotFound},
		"a change":                      {http.MethodPost, s.url, "", http.StatusMethodNotAllowed},
		"a preflight of another origin": {http.MethodOptions, s.url + "views", "", http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			got := get(t, tc.method, tc.url, tc.host)
			if got.status != tc.want {
				t.Errorf("status %d, want %d", got.status, tc.want)
			}
			if got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", got.header)
			}
		})
	}
	policy := get(t, http.MethodGet, s.url, "").header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'nonce-") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
}

// TestPage_SendsAViewAfterEachChange.
func TestPage_SendsAViewAfterEachChange(t *testing.T) {
	s := serve(t, clitest.Healthy("web"))
	events := bufio.NewScanner(get(t, http.MethodGet, s.url+"views", "").body)
	next := func() (v view) {
		t.Helper()
		for events.Scan() {
			if text, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(text), &v); err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatalf("the stream ended: %v", events.Err())
		return v
	}
	if v := next(); len(v.Rows) != 1 || v.Rows[0].Name != "web" {
		t.Errorf("first %+v", v)
	}
	s.keys = append(s.keys, clitest.Healthy("crm"))
	close(s.change)
	if v := next(); len(v.Rows) != 2 || v.Rows[0].Name != "crm" {
		t.Errorf("then %+v", v)
	}
}

// TestPage_BoundsStreams: and one that ends makes room.
func TestPage_BoundsStreams(t *testing.T) {
	s := serve(t)
	var last answer
	for range maxStreams {
		if last = get(t, http.MethodGet, s.url+"views", ""); last.status != http.StatusOK {
			t.Fatalf("status %d", last.status)
		}
	}
	if status := get(t, http.MethodGet, s.url+"views", "").status; status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", status)
	}
	_ = last.body.Close()
	for get(t, http.MethodGet, s.url+"views", "").status != http.StatusOK {
		if t.Context().Err() != nil {
			t.Fatal("a stream that ended makes no room")
		}
	}
}
