// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// second wants the ID of another chatbot.
const second = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotChatbot
metadata: {name: second, namespace: support}
spec: {displayName: Second bot, environment: production, chatbotID: %s}
`

func (t *tour) lookAtChatbot() error {
	for _, line := range []string{"wait --for=condition=Ready dgbotcb/support-bot -n support --timeout=30s", "get dgbotcb -n support"} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	snippet, err := t.kubectl(`get configmap support-bot-widget -n support -o jsonpath='{.data.embed\.html}'`)
	if err != nil {
		return err
	}
	record, err := t.publishedRecord(production)
	if err != nil {
		return err
	}
	id := record.Spec.ChatbotID
	if err := t.expect(id != "" && strings.Contains(snippet, fmt.Sprintf("data-chatbot-id=%q", id)), "the snippet does not have chatbot ID %q", id); err != nil {
		return err
	}
	t.say("The key of the chatbot's backend has the ID on its record, and the verifier tells it:")
	text, err := t.plaintext(production)
	if err != nil {
		return err
	}
	if err := t.curl(text, true); err != nil {
		return err
	}
	_, body, err := t.ask(text)
	if err != nil {
		return err
	}
	if err := t.expect(strings.Contains(body, fmt.Sprintf(`"chatbotID":%q`, id)), "the verifier does not tell chatbot ID %q", id); err != nil {
		return err
	}
	return t.wantTheSameID(id)
}

func (t *tour) wantTheSameID(id string) error {
	t.say("Another chatbot wants the same ID:")
	if err := t.apply(fmt.Sprintf(second, id)); err != nil {
		return err
	}
	for _, line := range []string{
		`wait --for=jsonpath='{.status.conditions[?(@.type=="Stalled")].reason}'=ChatbotIDConflict dgbotcb/second -n support --timeout=30s`,
		`get dgbotcb second -n support -o jsonpath='{.status.conditions[?(@.type=="Stalled")].message}'`,
		"delete dgbotcb second -n support",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	return nil
}
