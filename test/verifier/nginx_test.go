// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// nginxOrSkip returns the path of NGINX. Where CI has installed it, it must be there.
func nginxOrSkip(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("REQUIRE_NGINX") != "" {
		t.Fatal("REQUIRE_NGINX is set, and there is no nginx")
	}
	t.Skip("there is no nginx on this machine: its example is not tried")
	return ""
}

// replaceOnce puts the addresses of the test in the place of those that the example names.
func replaceOnce(t *testing.T, text, pattern, by string) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	if n := len(expression.FindAllString(text, -1)); n != 1 {
		t.Fatalf("%q is in the example %d times", pattern, n)
	}
	return expression.ReplaceAllLiteralString(text, by)
}

// startNginx runs config/integrations/gateways/nginx in front of a backend, and returns its address.
func startNginx(t *testing.T, verifier, trusted, backend string) string {
	t.Helper()
	nginx, folder, address := nginxOrSkip(t), t.TempDir(), freeAddress(t)
	source := filepath.Join(controlplane.Repository(), "config", "integrations", "gateways", "nginx")
	content, err := os.ReadFile(filepath.Join(source, "dgbot.conf"))
	must(t, err)
	site := replaceOnce(t, string(content), `dgbot-verifier\.dgbot-system\.svc\.cluster\.local:443`, verifier)
	site = replaceOnce(t, site, `/etc/nginx/dgbot-ca\.pem`, trusted)
	site = replaceOnce(t, site, `api\.support\.svc\.cluster\.local:8080`, backend)
	site = replaceOnce(t, site, `listen 8080`, "listen "+address)
	location, err := os.ReadFile(filepath.Join(source, "dgbot_to_api.conf"))
	must(t, err)
	main := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  include site.conf;
}`, folder)
	for name, text := range map[string]string{"nginx.conf": main, "site.conf": site, "dgbot_to_api.conf": string(location)} {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	command := exec.Command(nginx, "-p", folder, "-c", filepath.Join(folder, "nginx.conf"))
	command.Stdout, command.Stderr = &world.Log, &world.Log
	must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	eventually(t, "nginx answers", func() bool {
		response, err := http.Get("http://" + address)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return true
	})
	return address
}

// echo is a backend that answers with what reached it.
func echo(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-DGbot-Key-ID") == "" {
			// What every API behind a gateway does: the request has come past it, or the header was taken out on the way.
			http.Error(w, "denied", http.StatusForbidden)
			return
		}
		r.Header.Set("Body", string(body))
		r.Header.Set("Target", r.RequestURI)
		if r.URL.RawQuery == "broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_ = json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestNginxLetsGoodKeysThroughAndNothingElse(t *testing.T) {
	v, trusted := startTLSVerifier(t)
	v.ready()
	p := newPlace(t)
	text := p.key("crm", "staging") // scope conversations.read
	v.becomes("the key", text, http.StatusOK)
	address := startNginx(t, v.Address, trusted, echo(t))
	ask := func(method, path, body string, header ...string) (code int, answer, reached http.Header) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
		must(t, err)
		for i := 0; i < len(header); i += 2 {
			request.Header[header[i]] = append(request.Header[header[i]], header[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		defer func() { _ = response.Body.Close() }()
		if err := json.NewDecoder(response.Body).Decode(&reached); err != nil {
			reached = nil // it did not reach the backend
		}
		return response.StatusCode, response.Header, reached
	}

	bearer := "Bearer " + text
	code, _, reached := ask("POST", "/whoami?x=1", "hello", "Authorization", bearer, "X-Dgbot-Scopes", "*", "x_dgbot_scopes", "*", "X-Dgbot-Key-Uid", "another", "x_dgbot_key_uid", "another", "X-Dgbot-Required-Scopes", "*",
		"Connection", "close, X-DGbot-Scopes, X-DGbot-Key-ID, X-DGbot-Key-UID", "X-Original-URL", "/admin", "X-Rewrite-URL", "/admin", "X-Original-URI", "/admin")
	if code != http.StatusOK || reached.Get("Body") != "hello" {
		t.Fatalf("a good key is answered with %d, and what reached the API is %v", code, reached)
	}
	for name, want := range map[string]string{
		"X-DGbot-Key-UID": string(p.Key("crm").UID), "X-DGbot-Key-ID": strings.Split(text, "_")[2], "X-DGbot-Environment": "staging", "X-DGbot-Scopes": "conversations.read",
		"X-DGbot-Chatbot-ID": "", "X-DGbot-Required-Scopes": "", "Authorization": "", "X-API-Key": "",
		"X-Original-URL": "", "X-Rewrite-URL": "", "X-Original-URI": "",
	} {
		if got := reached.Values(name); strings.Join(got, "|") != want {
			t.Errorf("%s reaches the API as %q, want %q", name, got, want)
		}
	}
	for name := range reached {
		if strings.Contains(name, "_") {
			t.Errorf("the caller's %s reaches the API", name)
		}
	}
	for what, tc := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"no key":                              {"/whoami", nil, 401},
		"a wrong key":                         {"/whoami", []string{"Authorization", bearer[:len(bearer)-1] + "_"}, 401},
		"in X-API-Key":                        {"/whoami", []string{"X-Api-Key", text}, 200},
		"in the query":                        {"/whoami?api_key=" + text, nil, 401},
		"a scope is missing":                  {"/conversations/1", []string{"Authorization", bearer}, 403},
		"a caller that asks for fewer scopes": {"/conversations/1", []string{"Authorization", bearer, "X-Dgbot-Required-Scopes", "conversations.read"}, 403},
		"the check from outside":              {"/_dgbot/conversations.read", []string{"Authorization", bearer}, 404},
		"the API's own failure":               {"/whoami?broken", []string{"Authorization", bearer}, 500},
		"a path that is not listed":           {"/messages", []string{"Authorization", bearer}, 404},
		"a path below one that is":            {"/whoami/conversations", []string{"Authorization", bearer}, 404},
	} {
		code, answer, reached := ask("GET", tc.path, "", tc.header...)
		if code != tc.want || (reached != nil) != (tc.want == 200 || tc.want == 500) {
			t.Errorf("%s: %d, reached the API: %v; want %d", what, code, reached != nil, tc.want)
		}
		if challenge := answer.Get("WWW-Authenticate"); (challenge != "") != (tc.want == 401) {
			t.Errorf("%s: WWW-Authenticate %q", what, challenge)
		}
	}

	p.PatchKey("crm", `{"spec":{"state":"Revoked"}}`)
	eventually(t, "a revoked key is refused", func() bool {
		code, _, _ := ask("GET", "/whoami", "", "Authorization", bearer)
		return code == http.StatusUnauthorized
	})
	must(t, v.Stop())
	if code, answer, reached := ask("GET", "/whoami", "", "Authorization", bearer); code != http.StatusServiceUnavailable || reached != nil || answer.Get("Retry-After") == "" {
		t.Errorf("without a verifier: %d, reached the API: %v", code, reached)
	}
}

// hostilePaths are spellings of /conversations/ and of /whoami that some server takes for these, or takes for another path than a gateway.
var hostilePaths = []string{
	"/x/..;/conversations/", "/;/conversations/", "/;x=1/conversations/", "/Conversations/", "/CONVERSATIONS/1", "/conversations;a=b/", "/conversations;/1",
	"/whoami/..;/conversations/", "/whoami/../conversations/", "/whoami/..%2fconversations/", "/whoami%2f..%2fconversations/", "/whoami/%2e%2e/conversations/",
	"/whoami/%2E%2E%2Fconversations/", "/whoami/..%5cconversations/", `/whoami/..\conversations\`, "/whoami;/../conversations/", "/whoami%3b/..%3b/conversations/", "//conversations/",
	"/whoami/%c0%ae%c0%ae/conversations/", "/whoami/%EF%BC%8E%EF%BC%8E/conversations/", "/whoami/%09../conversations/", "/whoami%ef%bc%8fconversations/", "/whoami/%7f../conversations/",
	"///conversations/", "/./conversations/", "/.//conversations/", "/%2econversations/", "/conversations%00/", "/whoami%00/conversations/", "/conversation%73/",
	"/%63onversations/", "/%2563onversations/", "/whoami%252f..%252fconversations/", "/conversations.json", "/conversations", "/conversations%20/", "/conversations./",
	"/whoami/", "/whoami;", "/whoami%3f/../conversations/", "/whoami%23/../conversations/", "/_dgbot/../conversations/", "/\u212aonversations/", "/conver%c5%bfations/",
	"/whoami?/../conversations/", "/whoami?x=/..;/conversations/",
}

// foldedBytes are what lenient decoders take for ASCII: an overlong form, and full-width characters.
var foldedBytes = strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/", "\uff0e", ".", "\uff0f", "/", "\uff1b", ";", "\uff3c", "/")

// leniently is a path as the most lenient of all servers reads it: parameters and control characters left out, decoded twice,
// backslashes taken for slashes, dots resolved, in lower case.
func leniently(target string) string {
	target, _, _ = strings.Cut(target, "?")
	for range 2 {
		target = regexp.MustCompile(`;[^/]*`).ReplaceAllString(target, "")
		if decoded, err := url.PathUnescape(target); err == nil {
			target = decoded
		}
		target = foldedBytes.Replace(strings.ReplaceAll(target, `\`, "/"))
		target = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, target)
	}
	return strings.ToLower(path.Clean(target))
}

// TestNginxExample_AsksForTheScopesOfEverySpelling: no request reaches an API that reads its path as /conversations without the scopes of
// that, whatever the spelling.
func TestNginxExample_AsksForTheScopesOfEverySpelling(t *testing.T) {
	v, trusted := startTLSVerifier(t)
	p := newPlace(t)
	text := p.key("crm", "staging") // scope conversations.read, of two that /conversations/ asks for
	v.becomes("the key", text, http.StatusOK)
	address := startNginx(t, v.Address, trusted, echo(t))
	answered := 0
	for _, target := range hostilePaths {
		for _, method := range []string{"GET", "POST"} {
			connection, err := net.Dial("tcp", address)
			must(t, err)
			_, err = fmt.Fprintf(connection, "%s %s HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target, text)
			must(t, err)
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			must(t, err)
			var reached http.Header
			_ = json.NewDecoder(response.Body).Decode(&reached)
			_ = response.Body.Close()
			_ = connection.Close()
			if at := leniently(reached.Get("Target")); reached != nil && at != "/whoami" || response.StatusCode == http.StatusOK && reached == nil {
				t.Errorf("%s %s: %d, and reaches the API as %q, which may be read as %s", method, target, response.StatusCode, reached.Get("Target"), at)
			}
			if response.StatusCode == http.StatusOK {
				answered++
			}
		}
	}
	if answered != 4 {
		t.Errorf("%d requests were let in, want those for /whoami with a query", answered)
	}
}

// TestNginxExample_RejectsPathsThatLenientBackendsFold: a client that has every scope of a location cannot leave it by bytes that some
// backend decodes or folds, and NGINX does not.
func TestNginxExample_RejectsPathsThatLenientBackendsFold(t *testing.T) {
	v, trusted := startTLSVerifier(t)
	p := newPlace(t)
	text := p.key("crm", "staging")
	p.PatchKey("crm", `{"spec":{"scopes":["conversations.read","conversations.write"]}}`)
	address := startNginx(t, v.Address, trusted, echo(t))
	status := func(target string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		must(t, err)
		request.URL.Opaque = "//" + address + target
		request.Header.Set("Authorization", "Bearer "+text)
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		must(t, response.Body.Close())
		return response.StatusCode
	}
	eventually(t, "the key has both scopes", func() bool { return status("/conversations/1") == http.StatusOK })
	for _, target := range []string{
		"/conversations/%c0%ae%c0%ae/admin", "/conversations/%EF%BC%8E%EF%BC%8E/admin", "/conversations/%ef%bc%8fadmin", "/conversations/%09../admin",
		"/conversations/.%7f./admin", "/conversations/%1f", "/conversations/x%ef%bc%9b", "/conversations/%ef%bc%bcadmin",
		"/conversations/%e0%80%ae%e0%80%ae/admin", "/conversations/%f0%80%80%ae/admin", "/conversations/%f8%80%80%80%ae/admin", "/conversations/%e2%80%a5/admin",
		"/conversations/%e2%80%a4%e2%80%a4/admin", "/conversations/%ef%b9%92/admin", "/conversations/%ef%b9%94/admin", "/conversations/%cd%be/admin",
		"/conversations/%e2%88%95admin", "/conversations/%20../admin", "/conversations/%c2%85../admin", "/conversations/%e2%80%8b../admin", "/conversations/a%20b",
	} {
		if code := status(target); code == http.StatusOK {
			t.Errorf("%s reaches the API", target)
		}
	}
}
