// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
)

// isOutside reports whether the chatbot that a key names belongs to another environment than the key. Its ID is then not
// used: a verifier would answer for it in an environment in which its owner gave no key.
func (c *Chatbot) isOutside(environment string) bool {
	return c.Environment != "" && c.Environment != environment
}

func (p *planner) otherEnvironment() bool { return p.Chatbot.isOutside(p.asks.environment) }

// checkChatbot notes a chatbot of another environment. It is a violation like those of the environment's rules: it stops the first
// issue, and a key that was issued goes on with the chatbot ID that it has.
func (e *effective) checkChatbot(s *subject) {
	if s.Chatbot.isOutside(s.asks.environment) {
		e.violate("spec.chatbotRef names DGbotChatbot %q of environment %q, and the key is one of environment %q: name a chatbot of that environment",
			s.asks.chatbot, s.Chatbot.Environment, s.asks.environment)
	}
}

// chatbotID returns the ID that the key's records are to have, and reports whether that is known. While the chatbot has none, it is
// the one that the key had: a chatbot that is deleted, or cannot be found, keeps no key from being rotated or revoked. An ID that
// another chatbot has reserved since is removed: with it the key would answer for that one. The loss of the records that show the ID
// makes it unknown, and not empty: a key without a chatbot ID may be accepted for every chatbot.
func (p *planner) chatbotID() (id string, known bool) {
	if p.wants.chatbot == "" {
		return "", true
	}
	if p.Chatbot.ID != "" && !p.otherEnvironment() {
		return p.Chatbot.ID, true
	}
	record := p.granted(&p.horizon)
	if record == nil {
		return "", false
	}
	return p.unlessMoved(record.ChatbotID), true
}

// chatbotIDOf returns the ID that a record is to have. Where the key's is unknown, each record keeps its own.
func (p *planner) chatbotIDOf(record *Revision) string {
	if id, known := p.chatbotID(); known {
		return id
	}
	return p.unlessMoved(record.ChatbotID)
}

func (p *planner) unlessMoved(id string) string {
	if slices.Contains(p.Chatbot.Moved, id) {
		return ""
	}
	return id
}

// chatbotGate keeps a key waiting for its chatbot if it was never issued, or if the chatbot ID that it had is unknown. Any other
// key goes on with the ID on its records; the condition reports the missing chatbot where it reports nothing else.
func (p *planner) chatbotGate() *obstacle {
	id, known := p.chatbotID()
	goesOn := p.highest > 0 && known
	if p.wants.chatbot == "" || p.Chatbot.ID != "" && !(p.otherEnvironment() && !goesOn) || goesOn && p.cause != "" {
		return nil
	}
	o := &obstacle{reason: v1alpha1.WaitingForChatbotReason, harmless: p.highest > 0 && (known || p.cause == "")}
	switch name := p.wants.chatbot; {
	case p.Chatbot.Missing:
		o.message = fmt.Sprintf("There is no DGbotChatbot %q in this namespace: create it, or change spec.chatbotRef", name)
	case p.otherEnvironment():
		o.message = fmt.Sprintf("DGbotChatbot %q belongs to environment %q, and the key to %q: change spec.chatbotRef", name, p.Chatbot.Environment, p.wants.environment)
	default:
		o.message = fmt.Sprintf("DGbotChatbot %q has no ID yet", name)
	}
	switch {
	case !o.harmless && p.highest > 0:
		o.message += "; the records that had the key's chatbot ID are gone, so the next revision is issued as soon as the chatbot has one"
	case !o.harmless:
		o.message += "; the key is issued as soon as it has one"
	case len(p.Chatbot.Moved) > 0:
		o.message += "; another DGbotChatbot has reserved the chatbot ID that the key had, so the key goes on without one"
	case id == "":
		o.message += "; the key goes on without a chatbot ID"
	default:
		o.message += fmt.Sprintf("; the key goes on with chatbot ID %q", id)
	}
	return o
}
