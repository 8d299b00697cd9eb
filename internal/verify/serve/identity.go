// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"dgbot.io/key-operator/internal/verify/index"
)

// maxIdentityBody is the size in bytes from which on a body is refused: a token with the largest payload takes 11 KiB.
const maxIdentityBody = 16 << 10

var errIdentityBody = errors.New(`want {"token":"…"}, or {"chatbotId":"…","userId":"…","hash":"…"}, in at most 16 KiB`)

// claim is what somebody says of a visitor: a token, or a plain signature.
type claim struct{ Token, ChatbotID, UserID, Hash string }

// plainPayload is what a plain signature vouches for.
type plainPayload struct {
	ChatbotID string `json:"chatbotId"`
	UserID    string `json:"userId"`
}

// serveIdentity answers whether a visitor is who a customer's server says.
func (s *Server) serveIdentity(w http.ResponseWriter, r *http.Request) {
	payload, answer := s.identify(http.MaxBytesReader(w, r.Body, maxIdentityBody))
	s.metrics.identityAnswers[answer].Inc()
	answerHeaders(w, answer)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf[answer])
	body := any(verification{})
	switch answer {
	case good:
		_, _ = w.Write(append(payload, '\n'))
		return
	case badRequest:
		body = verification{Error: errIdentityBody.Error()}
	case unready:
		body = verification{Error: "the verifier does not know the present HMAC secrets"}
	}
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) identify(body io.Reader) (payload json.RawMessage, a answer) {
	now := s.now()
	if !s.ChatbotFreshness.Answers(now) {
		return nil, unready
	}
	c, err := readClaim(body)
	if err != nil {
		return nil, badRequest
	}
	var reason index.Reason
	if c.Token != "" {
		payload, reason = s.Chatbots.CheckToken(c.Token, now)
	} else {
		reason = s.Chatbots.CheckPlain(c.ChatbotID, c.UserID, c.Hash, now)
		payload, _ = json.Marshal(plainPayload{c.ChatbotID, c.UserID})
	}
	if reason != "" {
		s.metrics.identityRefused[reason].Inc()
		return nil, refusedKey
	}
	return payload, good
}

// readClaim reads the body of /v1/identity/verify, and takes nothing that another reader could take for something else. The
// error says what is wanted, and repeats nothing of what was sent.
func readClaim(body io.Reader) (claim, error) {
	var c claim
	content, err := io.ReadAll(body)
	if err != nil {
		return c, errIdentityBody
	}
	fields := map[string]*string{"token": &c.Token, "chatbotId": &c.ChatbotID, "userId": &c.UserID, "hash": &c.Hash}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return c, errIdentityBody
	}
	seen := 0
	for decoder.More() {
		name, _ := decoder.Token()
		text, _ := name.(string)
		into := fields[text]
		value, err := decoder.Token()
		said, ok := value.(string)
		if into == nil || err != nil || !ok || said == "" {
			return c, errIdentityBody
		}
		*into = said
		delete(fields, text) // a second one is refused
		seen++
	}
	if _, err := decoder.Token(); err != nil {
		return c, errIdentityBody
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return c, errIdentityBody
	}
	if token := c.Token != ""; token && seen != 1 || !token && seen != 3 {
		return c, errIdentityBody
	}
	return c, nil
}
