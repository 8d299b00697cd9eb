// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// OtherEnvironment reports whether the chatbot that the key names belongs to another environment.
func (k *Known) OtherEnvironment() bool { return k.Chatbot.IsOutside(k.Asks.Environment) }

// ChatbotID returns the ID that the key's records are to have, and reports whether that is known. While the chatbot has none, it is
// the one that the key had: a chatbot that is deleted, or cannot be found, keeps no key from being rotated or revoked. An ID that
// another chatbot has reserved since is removed: with it the key would answer for that one. The loss of the records that show the ID
// makes it unknown, and not empty: a key without a chatbot ID may be accepted for every chatbot.
func (k *Known) ChatbotID() (id string, known bool) {
	if k.Wants.Chatbot == "" {
		return "", true
	}
	if k.Chatbot.ID != "" && !k.OtherEnvironment() {
		return k.Chatbot.ID, true
	}
	record := k.Granted(&k.Horizon)
	if record == nil {
		return "", false
	}
	return k.unlessMoved(record.ChatbotID), true
}

// ChatbotIDOf returns the ID that a record is to have. Where the key's is unknown, each record keeps its own.
func (k *Known) ChatbotIDOf(record *revisions.Revision) string {
	if id, known := k.ChatbotID(); known {
		return id
	}
	return k.unlessMoved(record.ChatbotID)
}

func (k *Known) unlessMoved(id string) string {
	if slices.Contains(k.Chatbot.Moved, id) {
		return ""
	}
	return id
}

// Scopes returns those that the key's records are to have: of those that the environment does not grant, only what the records have
// already. A rule that comes takes nothing away, and a change of the key brings nothing in. The same holds while the environment is
// missing: the change of a key that arrives before the environment must not escape its rules.
func (k *Known) Scopes() []v1alpha1.Scope {
	wanted, env := k.Wants.Scopes, &k.Environment
	if env.Rules == nil && !env.Required {
		return slices.Clone(wanted)
	}
	var has []v1alpha1.Scope
	if record := k.Granted(&k.Horizon); record != nil {
		has = record.Scopes
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(scope v1alpha1.Scope) bool {
		granted := env.Rules != nil && effective.Allowed(env.Rules, scope)
		return !granted && !slices.ContainsFunc(has, func(held v1alpha1.Scope) bool { return held.Covers(scope) })
	})
}
