// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

// Environment is what is known of the environment that a key belongs to.
type Environment struct {
	// Rules of its DGbotEnvironment; nil where there is none.
	Rules *v1alpha1.DGbotEnvironmentSpec
	// Required: without a DGbotEnvironment no key is issued for the first time, and no scope is added to a key.
	Required bool
	// Known are the names of the DGbotEnvironments that exist, in any order; empty where Rules is set.
	Known []string
	// Excluded: the rules do not select the key's namespace.
	Excluded bool
	// Rank of the key among those of the environment in its namespace, the oldest being 1, and among those of them that are
	// for the same chatbot. Zero where the rules limit neither.
	Rank, ChatbotRank int
	// Windows of the rules.
	Windows []schedule.Window
}

// Chatbot is what is known of the chatbot that a key is for.
type Chatbot struct {
	// ID is empty where there is no chatbotRef, and where the chatbot has none yet.
	ID string
	// Missing: there is no DGbotChatbot of that name.
	Missing bool
	// Environment of the chatbot; empty where it is missing.
	Environment string
	// Moved are the chatbot IDs on records of the key that another chatbot has reserved.
	Moved []string
}

// IsOutside reports whether the chatbot that a key names belongs to another environment than the key. Its ID is then not
// used: a verifier would answer for it in an environment in which its owner gave no key.
func (c *Chatbot) IsOutside(environment string) bool {
	return c.Environment != "" && c.Environment != environment
}

// CountedAfter is how long after a key's creation no older one appears any more. The creation has whole seconds, and the operator's clock can
// be ahead of the API server's by one and a half (see internal/servertime).
const CountedAfter = 3 * time.Second

// CountedAt returns when all keys are known that are older than a key of that creation.
func CountedAt(created metav1.Time) time.Time { return created.Add(CountedAfter) }
