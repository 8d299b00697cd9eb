// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// actOnChatbot ties the key to a chatbot, to another one, to one that is not there or has no ID yet, or to none.
func (w *walk) actOnChatbot() {
	choice := w.rng.Intn(5)
	w.sim.Key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"}
	w.sim.Chatbot = []effective.Chatbot{{}, {ID: "cb_1"}, {ID: "cb_2"}, {Missing: true}, {}}[choice]
	if choice == 0 {
		w.sim.Key.Spec.ChatbotRef = nil
	}
	w.note("chatbot %+v of %v", w.sim.Chatbot, w.sim.Key.Spec.ChatbotRef)
}

// knowsChatbot reports whether it is clear which ID the key is to have.
func (w *walk) knowsChatbot() bool { return w.sim.Key.Spec.ChatbotRef == nil || w.sim.Chatbot.ID != "" }

// checkChatbotOf a revision that is about to be issued: the first waits for the chatbot, all others wait for nothing.
func (w *walk) checkChatbotOf(issue steps.IssueRevision) {
	switch {
	case w.knowsChatbot():
		if issue.ChatbotID != w.sim.Chatbot.ID {
			w.failf("revision %d is issued with chatbot ID %q, want %q", issue.Revision, issue.ChatbotID, w.sim.Chatbot.ID)
		}
	case issue.Revision == 1:
		w.failf("the first revision is issued without the ID of its chatbot")
	}
}

// checkChatbotAtRest: what verifies says what the key says.
func (w *walk) checkChatbotAtRest() {
	if !w.knowsChatbot() {
		return
	}
	for i := range w.sim.Records {
		record := &w.sim.Records[i]
		if standing.Owned(record) && standing.Of(record).Verifies(w.sim.Now) && record.Spec.ChatbotID != w.sim.Chatbot.ID {
			w.failf("revision %d verifies with chatbot ID %q, want %q", record.Spec.Revision, record.Spec.ChatbotID, w.sim.Chatbot.ID)
		}
	}
}
