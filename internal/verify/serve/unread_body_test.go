// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// prompt is far below readTimeout, which a server waits for a body that does not come, and far above what an answer takes
// on a busy machine.
const prompt = readTimeout / 2

// serveRaw runs the handler with the timeouts of Run.
func serveRaw(t *testing.T, b *bench) string {
	t.Helper()
	server := httptest.NewUnstartedServer(b.Handler())
	server.Config.ReadHeaderTimeout, server.Config.ReadTimeout, server.Config.WriteTimeout = headerTimeout, readTimeout, writeTimeout
	server.Config.IdleTimeout = idleTimeout
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// exchange sends bytes over a new connection and returns the answer, and how long it took until the answer and until the
// server closed the connection.
func exchange(t *testing.T, address, sent string) (answer *http.Response, answered, closed time.Duration) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(2 * readTimeout))
	began := time.Now()
	if _, err := io.WriteString(connection, sent); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	if answer, err = http.ReadResponse(reader, nil); err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	answered = time.Since(began)
	if answer.Close {
		_, _ = io.Copy(io.Discard, reader)
		closed = time.Since(began)
	}
	return answer, answered, closed
}

// TestCheck_DoesNotWaitForABody: a gateway that forwards the headers of a request without its body gets the answer at once,
// and the connection is closed, because the next request on it would count as the body.
func TestCheck_DoesNotWaitForABody(t *testing.T) {
	b := newBench(t)
	address := serveRaw(t, b)
	for name, tc := range map[string]struct {
		line, key, declared string
		want                int
	}{
		"Content-Length":               {"POST /check", b.key, "Content-Length: 1000", 200},
		"Content-Length, a path":       {"PUT /check/a/b", b.key, "Content-Length: 1000", 200},
		"Content-Length, GET":          {"GET /check", b.key, "Content-Length: 1", 200},
		"Content-Length of a gigabyte": {"POST /check", b.key, "Content-Length: 1073741824", 200},
		"chunked":                      {"POST /check", b.key, "Transfer-Encoding: chunked", 200},
		"Expect":                       {"POST /check", b.key, "Content-Length: 1000\r\nExpect: 100-continue", 200},
		"Expect, chunked":              {"POST /check", b.key, "Transfer-Encoding: chunked\r\nExpect: 100-continue", 200},
		"a bad key":                    {"POST /check", "junk", "Content-Length: 1000", 401},
		"verify with a bad key":        {"POST /v1/verify", "junk", "Content-Length: 1000", 401},
		"an unknown path":              {"POST /nothing", b.key, "Content-Length: 1000", 404},
		"a wrong method":               {"PUT /v1/verify", b.key, "Content-Length: 1000", 405},
		"a probe":                      {"GET /healthz", b.key, "Content-Length: 1000", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, answered, closed := exchange(t, address, fmt.Sprintf("%s HTTP/1.1\r\nHost: v\r\nX-API-Key: %s\r\n%s\r\n\r\n", tc.line, tc.key, tc.declared)) //nolint:bodyclose // exchange has closed it
			if answer.StatusCode != tc.want || answered > prompt {
				t.Errorf("%d after %s, want %d within %s", answer.StatusCode, answered, tc.want, prompt)
			}
			if !answer.Close || closed > prompt {
				t.Errorf("close: %t, after %s; want the connection closed within %s", answer.Close, closed, prompt)
			}
		})
	}
}

// TestCheck_AnswersAClientThatSendsItsBodyFirst: closing the connection early would lose the answer.
func TestCheck_AnswersAClientThatSendsItsBodyFirst(t *testing.T) {
	b := newBench(t)
	address := serveRaw(t, b)
	for _, size := range []int{1, 8 << 10, 200 << 10} {
		asked, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/check", bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		asked.Header.Set("X-API-Key", b.key)
		answer, err := http.DefaultClient.Do(asked)
		if err != nil {
			t.Fatalf("a body of %d bytes: %v", size, err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !answer.Close {
			t.Errorf("a body of %d bytes: %d, close: %t", size, answer.StatusCode, answer.Close)
		}
	}
}

// TestCheck_NeverReadsTheBody: neither what it says nor how long it is changes the answer.
func TestCheck_NeverReadsTheBody(t *testing.T) {
	b := newBench(t)
	asked := httptest.NewRequest(http.MethodPost, "/check", unreadable{t})
	asked.Header = bearerOf(b.key)
	answer := httptest.NewRecorder()
	b.Handler().ServeHTTP(answer, asked)
	if answer.Code != http.StatusOK {
		t.Errorf("%d", answer.Code)
	}
}

// unreadable is a body that fails the test when it is read.
type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// TestHandler_KeepsConnectionsWithoutABody: closing them would cost each gateway a connection for each request.
func TestHandler_KeepsConnectionsWithoutABody(t *testing.T) {
	b := newBench(t)
	address := serveRaw(t, b)
	for name, sent := range map[string]string{
		"/check":                     "POST /check HTTP/1.1\r\nHost: v\r\nX-API-Key: " + b.key + "\r\nContent-Length: 0\r\n\r\n",
		"/check by GET":              "GET /check HTTP/1.1\r\nHost: v\r\nX-API-Key: " + b.key + "\r\n\r\n",
		"/v1/verify":                 "POST /v1/verify HTTP/1.1\r\nHost: v\r\nX-API-Key: " + b.key + "\r\nContent-Length: 2\r\n\r\n{}",
		"/v1/verify with a bad key":  "POST /v1/verify HTTP/1.1\r\nHost: v\r\nX-API-Key: junk\r\nContent-Length: 2\r\n\r\n{}",
		"/v1/identity/verify, stale": "POST /v1/identity/verify HTTP/1.1\r\nHost: v\r\nContent-Length: 2\r\n\r\n{}",
	} {
		if answer, _, _ := exchange(t, address, sent); answer.Close || strings.Contains(answer.Header.Get("Connection"), "close") { //nolint:bodyclose // exchange has closed it
			t.Errorf("%s: %d closes the connection", name, answer.StatusCode)
		}
	}
}
