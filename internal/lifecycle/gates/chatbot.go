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
		o.Message = fmt.Sprintf("DGbotChatbot %q does not exist in this namespace; create the DGbotChatbot, or change spec.chatbotRef", name)
	case c.OtherEnvironment():
		o.Message = fmt.Sprintf("DGbotChatbot %q belongs to environment %q, and the key belongs to environment %q; change spec.chatbotRef", name, c.Chatbot.Environment, c.Wants.Environment)
	default:
		o.Message = fmt.Sprintf("DGbotChatbot %q has no chatbot ID yet; see the conditions of the DGbotChatbot", name)
	}
	switch {
	case !o.Harmless && c.Highest > 0:
		o.Message += ". The records that held the key's chatbot ID are missing, so the operator issues the next revision when the DGbotChatbot has a chatbot ID"
	case !o.Harmless:
		o.Message += ". The operator issues the key when the DGbotChatbot has a chatbot ID"
	case len(c.Chatbot.Moved) > 0:
		o.Message += ". Another DGbotChatbot has reserved the earlier chatbot ID of the key, so the key has no chatbot ID until then"
	case id == "":
		o.Message += ". Until then the key has no chatbot ID"
	default:
		o.Message += fmt.Sprintf(". Until then the key keeps chatbot ID %q", id)
	}
	return o
}
