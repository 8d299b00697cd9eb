// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"dgbot.io/key-operator/internal/verify/index"
)

// maxIdentityBody is the largest size of a body in bytes: a token with the largest payload takes 11 KiB.
const maxIdentityBody = 16 << 10

var errIdentityBody = errors.New(`want {"token":"…"}, or {"chatbotId":"…","userId":"…","hash":"…"}, in at most 16 KiB`)

// claim is a claimed identity of a visitor: either Token, or the other three fields, which are a plain signature.
type claim struct{ Token, ChatbotID, UserID, Hash string }

// plainPayload is the payload that is answered to a plain signature.
type plainPayload struct {
	ChatbotID string `json:"chatbotId"`
	UserID    string `json:"userId"`
}

// serveIdentity answers whether a customer's server signed the identity of a visitor.
func (s *Server) serveIdentity(w http.ResponseWriter, r *http.Request) {
	payload, answer := s.identify(http.MaxBytesReader(w, r.Body, maxIdentityBody))
	s.metrics.identityAnswers[answer].Inc()
	answerHeaders(w, answer)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf[answer])
	body := any(verification{})
	switch answer {
	case accepted:
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
	if !s.data.Load().chatbotFreshness().Answers(s.now()) {
		return nil, unready
	}
	c, err := readClaim(body)
	now, data := s.now(), s.data.Load() // the body may have arrived slowly
	if !data.chatbotFreshness().Answers(now) {
		return nil, unready
	}
	if err != nil {
		return nil, badRequest
	}
	var reason index.Reason
	if c.Token != "" {
		payload, reason = data.Chatbots.CheckToken(c.Token, now)
	} else {
		reason = data.Chatbots.CheckPlain(c.ChatbotID, c.UserID, c.Hash, now)
		payload, _ = json.Marshal(plainPayload{c.ChatbotID, c.UserID})
	}
	if reason != "" {
		s.metrics.identityRejected[reason].Inc()
		return nil, rejectedKey
	}
	return payload, accepted
}

// readClaim reads the body of /v1/identity/verify, and accepts nothing that another reader could understand differently. The error states what
// is accepted and repeats nothing of the body.
func readClaim(body io.Reader) (claim, error) {
	content, err := io.ReadAll(body)
	if err != nil {
		return claim{}, errIdentityBody
	}
	var fields map[string]string
	if !decodeStrictly(content, &fields) {
		return claim{}, errIdentityBody
	}
	c := claim{fields["token"], fields["chatbotId"], fields["userId"], fields["hash"]}
	isToken := len(fields) == 1 && c.Token != ""
	isPlain := len(fields) == 3 && c.ChatbotID != "" && c.UserID != "" && c.Hash != ""
	if !isToken && !isPlain {
		return claim{}, errIdentityBody
	}
	return c, nil
}
