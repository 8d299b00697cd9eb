// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Desired is what an owner asks for. What is the operator's default is filled in where it is used.
type Desired struct {
	// State is never empty.
	State       v1alpha1.KeyState
	ExpiresAt   *metav1.Time
	Environment string
	Rotation    v1alpha1.Rotation

	// Label, Scopes, Chatbot and Secret are of API keys only. Chatbot is the name of the DGbotChatbot, empty for none.
	Label   string
	Scopes  []v1alpha1.Scope
	Chatbot string
	secret  *v1alpha1.SecretSpec
}

// DesiredBy returns what the spec of a key asks for.
func DesiredBy(spec *v1alpha1.DGbotAPIKeySpec) Desired {
	d := Desired{
		State: stateOf(spec), ExpiresAt: spec.ExpiresAt, Environment: spec.Environment,
		Label: spec.Label, Scopes: spec.Scopes, secret: spec.Secret,
	}
	if spec.Rotation != nil {
		d.Rotation = *spec.Rotation
	}
	if spec.ChatbotRef != nil {
		d.Chatbot = spec.ChatbotRef.Name
	}
	return d
}

// StateOf returns the state that a key's spec asks for. An absent state means Active.
func StateOf(key *v1alpha1.DGbotAPIKey) v1alpha1.KeyState { return stateOf(&key.Spec) }

func stateOf(spec *v1alpha1.DGbotAPIKeySpec) v1alpha1.KeyState {
	return cmp.Or(spec.State, v1alpha1.StateActive)
}

// Strictness orders states.
var Strictness = map[v1alpha1.KeyState]int{v1alpha1.StateDisabled: 1, v1alpha1.StateRevoked: 2}
