// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"k8s.io/utils/clock"
	strictjson "sigs.k8s.io/json"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/verify/index"
)

// maxBody is the largest size of a body in bytes: 32 scopes, the most a key can have, take far less.
const maxBody = 16 << 10

// The headers of /check and of ext_authz. All of them are always sent, so that a client's header of the same name never gets through.
const (
	keyUIDHeader      = "X-DGbot-Key-UID"
	keyIDHeader       = "X-DGbot-Key-ID"
	environmentHeader = "X-DGbot-Environment"
	chatbotIDHeader   = "X-DGbot-Chatbot-ID"
	scopesHeader      = "X-DGbot-Scopes"
	requiredHeader    = "X-DGbot-Required-Scopes"
	keyHeader         = "X-API-Key"
	// removeHeader lists the headers of the request that Envoy removes.
	removeHeader = "X-Envoy-Auth-Headers-To-Remove"
	// challenge is sent with every 401, as RFC 9110 requires.
	challengeHeader = "WWW-Authenticate"
	challenge       = "Bearer"
)

const (
	verifyPath   = "/v1/verify"
	identityPath = "/v1/identity/verify"
)

type header struct{ name, value string }

// headersFor returns the headers that describe the key to the service behind the gateway.
func headersFor(e *index.Entry) [5]header {
	return [...]header{
		{keyUIDHeader, e.KeyUID()}, {keyIDHeader, e.KeyID()}, {environmentHeader, e.Environment()}, {chatbotIDHeader, e.ChatbotID()}, {scopesHeader, e.Scopes()},
	}
}

// Handler serves /v1/verify, /v1/identity/verify, /check, /healthz and /readyz. It is no http.ServeMux, which answers /check//path with a
// redirect: any path that a client of the gateway requests can follow /check.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if !takesBody(r) {
			leaveBody(w, r)
		}
		switch path := r.URL.Path; {
		case path == verifyPath:
			if allowed(w, r, http.MethodPost) {
				s.serveVerify(w, r)
			}
		case path == identityPath:
			if allowed(w, r, http.MethodPost) {
				s.serveIdentity(w, r)
			}
		case path == "/check" || strings.HasPrefix(path, "/check/"):
			s.serveCheck(w, r)
		case path == "/healthz":
			if allowed(w, r, http.MethodGet, http.MethodHead) {
				answerText(w, true, "ok")
			}
		case path == "/readyz":
			if allowed(w, r, http.MethodGet, http.MethodHead) {
				s.serveReadiness(w)
			}
		default:
			http.Error(w, "not found", http.StatusNotFound)
		}
	})
}

// takesBody reports whether the answer to a request depends on its body.
func takesBody(r *http.Request) bool {
	return r.Method == http.MethodPost && (r.URL.Path == verifyPath || r.URL.Path == identityPath)
}

// lingerTime is the time for which a connection with an unread body stays open. Closing it while the client still sends would
// reset the connection, and the client could lose the answer.
const lingerTime = time.Second

// leaveBody makes the answer independent of a body that the request declares. By default net/http reads the body before it
// sends the answer, so a gateway that forwards Content-Length without the body would wait until readTimeout. The connection
// is not reused: the next bytes on it could be the body or a request.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	w.Header().Set("Connection", "close")
	hurryBody(w, r)
}

// hurryBody bounds the time for which net/http waits for a body that the answer does not depend on. If the body arrives in time,
// the connection can be reused.
func hurryBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	// A response writer of a test has no connection and supports no deadline.
	_ = http.NewResponseController(w).SetReadDeadline(clock.RealClock{}.Now().Add(lingerTime))
}

func allowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, method := range methods {
		if r.Method == method {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

func answerText(w http.ResponseWriter, well bool, text string) {
	if !well {
		http.Error(w, text, http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text+"\n")
}

func (s *Server) serveReadiness(w http.ResponseWriter) {
	if s.draining.Load() {
		answerText(w, false, "about to stop")
		return
	}
	now, first := s.now(), s.data.Load().first()
	answerText(w, first.Ready(now), first.Condition(now))
}

// verification is the body of an answer of /v1/verify. Valid is true only with status 200: a client may read nothing else.
type verification struct {
	Valid bool `json:"valid"`
	// Cluster is the name of the source of the key; empty where there is only one.
	Cluster string `json:"cluster,omitempty"`
	*index.Identity
	MissingScopes []string `json:"missingScopes,omitempty"`
	Error         string   `json:"error,omitempty"`
}

func (s *Server) serveVerify(w http.ResponseWriter, r *http.Request) {
	why, read := "a header has a name with other characters than visible ASCII", false
	f := s.ask(question{
		names: maps.Keys(r.Header), authorization: r.Header.Values("Authorization"), apiKey: r.Header.Values(keyHeader),
		scopes: func() ([]string, bool) {
			read = true
			required, err := readScopes(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				why = err.Error()
			}
			return required, err == nil
		},
		isSlow: r.ContentLength != 0,
	})
	if !read {
		hurryBody(w, r)
	}
	var body verification
	switch f.answer {
	case accepted:
		body = verification{Valid: true, Identity: f.entry.Identity(), Cluster: f.cluster}
	case missingScopes:
		body = verification{MissingScopes: f.missing}
	case badRequest:
		body = verification{Error: why}
	case unready:
		body = verification{Error: "the verifier does not know the present state of the keys"}
	}
	answerHeaders(w, f.answer)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf[f.answer])
	_ = json.NewEncoder(w).Encode(body)
}

var statusOf = map[answer]int{
	accepted: http.StatusOK, rejectedKey: http.StatusUnauthorized, badRequest: http.StatusBadRequest,
	missingScopes: http.StatusForbidden, unready: http.StatusServiceUnavailable,
}

func answerHeaders(w http.ResponseWriter, a answer) {
	if a == rejectedKey {
		w.Header().Set(challengeHeader, challenge)
	}
}

var errBody = errors.New(`want no body, or {"scopes":[…]} with at most 32 scopes such as "conversations.read"`)

// maxRequired is the largest number of required scopes: as many as a key can have.
const maxRequired = v1alpha1.MaxScopes

// readScopes reads the body of /v1/verify, and accepts nothing that another reader could understand differently, as a field that occurs
// twice or is written in another case. The error states what is accepted and repeats nothing of the body.
func readScopes(body io.Reader) ([]string, error) {
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, errBody
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, nil
	}
	var required *struct {
		Scopes []string `json:"scopes"`
	}
	if !decodeStrictly(content, &required) || required == nil || len(required.Scopes) > maxRequired {
		return nil, errBody
	}
	for _, scope := range required.Scopes {
		if !v1alpha1.Scope(scope).IsConcrete() {
			return nil, errBody
		}
	}
	return required.Scopes, nil
}

// decodeStrictly decodes JSON. It reports false if the content has another form than the target, unknown fields, fields in another case or
// fields that occur twice.
func decodeStrictly(content []byte, target any) bool {
	unknownOrTwice, err := strictjson.UnmarshalStrict(content, target)
	return err == nil && len(unknownOrTwice) == 0
}

func (s *Server) serveCheck(w http.ResponseWriter, r *http.Request) {
	f := s.ask(question{
		names: maps.Keys(r.Header), authorization: r.Header.Values("Authorization"), apiKey: r.Header.Values(keyHeader),
		scopes: func() ([]string, bool) { return splitScopes(r.Header.Values(requiredHeader)) },
	})
	answerHeaders(w, f.answer)
	if f.answer == accepted {
		set := headersFor(f.entry)
		for _, header := range set {
			w.Header().Set(header.name, header.value)
		}
		w.Header().Set(removeHeader, strings.Join(headersToRemove(maps.Keys(r.Header), f.credential, set[:]), ","))
	}
	w.WriteHeader(statusOf[f.answer])
}
