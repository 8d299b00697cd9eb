// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"fmt"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// chatbotGate keeps a key waiting for its chatbot if it was never issued, or if the chatbot ID that it had is unknown. Any other
// key goes on with the ID on its records; the condition reports the missing chatbot where it reports nothing else.
func (c *Case) chatbotGate() *report.Obstacle {
	id, known := c.ChatbotID()
	goesOn := c.Highest > 0 && known
	if c.Wants.Chatbot == "" || c.Chatbot.ID != "" && !(c.OtherEnvironment() && !goesOn) || goesOn && c.Cause != "" {
		return nil
	}
	o := &report.Obstacle{Reason: v1alpha1.WaitingForChatbotReason, Harmless: c.Highest > 0 && (known || c.Cause == "")}
	switch name := c.Wants.Chatbot; {
	case c.Chatbot.Missing:
		o.Message = fmt.Sprintf("There is no DGbotChatbot %q in this namespace: create it, or change spec.chatbotRef", name)
	case c.OtherEnvironment():
		o.Message = fmt.Sprintf("DGbotChatbot %q belongs to environment %q, and the key to %q: change spec.chatbotRef", name, c.Chatbot.Environment, c.Wants.Environment)
	default:
		o.Message = fmt.Sprintf("DGbotChatbot %q has no ID yet", name)
	}
	switch {
	case !o.Harmless && c.Highest > 0:
		o.Message += "; the records that had the key's chatbot ID are gone, so the next revision is issued as soon as the chatbot has one"
	case !o.Harmless:
		o.Message += "; the key is issued as soon as it has one"
	case len(c.Chatbot.Moved) > 0:
		o.Message += "; another DGbotChatbot has reserved the chatbot ID that the key had, so the key goes on without one"
	case id == "":
		o.Message += "; the key goes on without a chatbot ID"
	default:
		o.Message += fmt.Sprintf("; the key goes on with chatbot ID %q", id)
	}
	return o
}
