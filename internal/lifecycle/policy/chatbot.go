// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

func (p *Planner) otherEnvironment() bool { return p.Chatbot.IsOutside(p.Asks.Environment) }

// chatbotID returns the ID that the key's records are to have, and reports whether that is known. While the chatbot has none, it is
// the one that the key had: a chatbot that is deleted, or cannot be found, keeps no key from being rotated or revoked. An ID that
// another chatbot has reserved since is removed: with it the key would answer for that one. The loss of the records that show the ID
// makes it unknown, and not empty: a key without a chatbot ID may be accepted for every chatbot.
func (p *Planner) chatbotID() (id string, known bool) {
	if p.Wants.Chatbot == "" {
		return "", true
	}
	if p.Chatbot.ID != "" && !p.otherEnvironment() {
		return p.Chatbot.ID, true
	}
	record := p.Granted(&p.Horizon)
	if record == nil {
		return "", false
	}
	return p.unlessMoved(record.ChatbotID), true
}

// chatbotIDOf returns the ID that a record is to have. Where the key's is unknown, each record keeps its own.
func (p *Planner) chatbotIDOf(record *revisions.Revision) string {
	if id, known := p.chatbotID(); known {
		return id
	}
	return p.unlessMoved(record.ChatbotID)
}

func (p *Planner) unlessMoved(id string) string {
	if slices.Contains(p.Chatbot.Moved, id) {
		return ""
	}
	return id
}

// chatbotGate keeps a key waiting for its chatbot if it was never issued, or if the chatbot ID that it had is unknown. Any other
// key goes on with the ID on its records; the condition reports the missing chatbot where it reports nothing else.
func (p *Planner) chatbotGate() *report.Obstacle {
	id, known := p.chatbotID()
	goesOn := p.Highest > 0 && known
	if p.Wants.Chatbot == "" || p.Chatbot.ID != "" && !(p.otherEnvironment() && !goesOn) || goesOn && p.Cause != "" {
		return nil
	}
	o := &report.Obstacle{Reason: v1alpha1.WaitingForChatbotReason, Harmless: p.Highest > 0 && (known || p.Cause == "")}
	switch name := p.Wants.Chatbot; {
	case p.Chatbot.Missing:
		o.Message = fmt.Sprintf("There is no DGbotChatbot %q in this namespace: create it, or change spec.chatbotRef", name)
	case p.otherEnvironment():
		o.Message = fmt.Sprintf("DGbotChatbot %q belongs to environment %q, and the key to %q: change spec.chatbotRef", name, p.Chatbot.Environment, p.Wants.Environment)
	default:
		o.Message = fmt.Sprintf("DGbotChatbot %q has no ID yet", name)
	}
	switch {
	case !o.Harmless && p.Highest > 0:
		o.Message += "; the records that had the key's chatbot ID are gone, so the next revision is issued as soon as the chatbot has one"
	case !o.Harmless:
		o.Message += "; the key is issued as soon as it has one"
	case len(p.Chatbot.Moved) > 0:
		o.Message += "; another DGbotChatbot has reserved the chatbot ID that the key had, so the key goes on without one"
	case id == "":
		o.Message += "; the key goes on without a chatbot ID"
	default:
		o.Message += fmt.Sprintf("; the key goes on with chatbot ID %q", id)
	}
	return o
}
