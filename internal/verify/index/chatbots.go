// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// Chatbots are the chatbots whose visitors can be vouched for, as the copies of their HMAC secrets in the identity namespace
// say. Beside the copies nothing of any Secret is kept.
type Chatbots struct {
	// environments and namespaces are those of the chatbots that are known; empty for all.
	environments, namespaces []string

	mutex sync.RWMutex
	// chatbots by the names of their copies. What is in it is never changed, only replaced.
	chatbots map[string]*chatbot
}

// chatbot is what is kept of a copy.
type chatbot struct {
	id          string
	secrets     []hmacSecret
	acceptPlain bool
	generation  int32
}

type hmacSecret struct {
	kid  string
	text []byte
	// notAfter is zero where there is no end.
	notAfter time.Time
}

// nothing stands in for an HMAC secret that is not known, so that finding that out takes as long.
var noSecret = make([]byte, 64)

// NewChatbots returns the empty set, for chatbots of some environments and namespaces, or of all.
func NewChatbots(environments, namespaces []string) *Chatbots {
	return &Chatbots{environments: environments, namespaces: namespaces}
}

// Put takes a copy over. What is not one, counts for nothing.
func (x *Chatbots) Put(secret *corev1.Secret, _, generation int32) error {
	bot, err := readChatbot(secret)
	x.mutex.Lock()
	defer x.mutex.Unlock()
	if bot == nil || !x.covers(secret) {
		delete(x.chatbots, secret.Name)
		return err
	}
	bot.generation = generation
	if x.chatbots == nil {
		x.chatbots = map[string]*chatbot{}
	}
	x.chatbots[secret.Name] = bot
	return nil
}

// readChatbot returns what a copy says; nil where it is none. An ID has one copy, which its name follows from: no other can add to it
// or take it away. The ID and the HMAC secrets are kept, so both have bounds: a Secret holds up to 1 MiB.
func readChatbot(secret *corev1.Secret) (*chatbot, error) {
	id := string(secret.Data[v1alpha1.IdentityChatbotID])
	if identity.ClaimName(id) != secret.Name || !identity.ValidChatbotID(id) {
		return nil, nil
	}
	bot := &chatbot{id: id, acceptPlain: string(secret.Data[v1alpha1.CopyAcceptPlain]) == "true"}
	for _, suffix := range []string{"", v1alpha1.IdentityPreviousSuffix, v1alpha1.IdentityPendingSuffix} {
		text, ok := secret.Data[v1alpha1.IdentitySecretKey+suffix]
		if !ok {
			continue
		}
		if err := identity.CheckImported(text); err != nil {
			return nil, fmt.Errorf("entry %s: %w", v1alpha1.IdentitySecretKey+suffix, err)
		}
		// The kid follows from the secret: what the copy says of it cannot lend one the name of another.
		known := hmacSecret{kid: identity.KID(text), text: text}
		if end, ok := secret.Data[v1alpha1.CopyNotAfter+suffix]; ok {
			at, err := time.Parse(time.RFC3339, string(end))
			if err != nil {
				return nil, fmt.Errorf("entry %s is no time in RFC 3339", v1alpha1.CopyNotAfter+suffix)
			}
			known.notAfter = at
		}
		bot.secrets = append(bot.secrets, known)
	}
	return bot, nil
}

// covers says whether a copy is that of a chatbot in the environments and namespaces that are to be known.
func (x *Chatbots) covers(secret *corev1.Secret) bool {
	among := func(names []string, entry string) bool {
		return len(names) == 0 || slices.Contains(names, string(secret.Data[entry]))
	}
	return among(x.environments, v1alpha1.CopyEnvironment) && among(x.namespaces, v1alpha1.CopyNamespace)
}

// Remove forgets a copy.
func (x *Chatbots) Remove(secret *corev1.Secret) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	delete(x.chatbots, secret.Name)
}

// Sweep forgets the copies that a generation does not contain.
func (x *Chatbots) Sweep(_, generation int32) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	maps.DeleteFunc(x.chatbots, func(_ string, bot *chatbot) bool { return bot.generation != generation })
}

// Len returns the number of chatbots.
func (x *Chatbots) Len() int {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	return len(x.chatbots)
}

// find returns what is known of a chatbot; one without HMAC secrets where nothing is.
func (x *Chatbots) find(id string) *chatbot {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	if bot := x.chatbots[identity.ClaimName(id)]; bot != nil && bot.id == id {
		return bot
	}
	return &chatbot{}
}

// CheckToken returns the payload of a token that is good at a time; nil and the reason where it is not.
func (x *Chatbots) CheckToken(text string, now time.Time) (json.RawMessage, Reason) {
	token, err := identity.Parse(text)
	if err != nil {
		return nil, Malformed
	}
	secret, reason := noSecret, Unknown
	for _, known := range x.find(token.Claims.ChatbotID).secrets {
		if known.kid == token.KID {
			secret, reason = known.text, known.refused(now)
		}
	}
	// Also where the secret is not known, so that every refusal takes the same steps.
	switch err := token.Verify(secret, now); {
	case reason != "":
		return nil, reason
	case err == nil:
		return token.Payload, ""
	case errors.Is(err, identity.ErrSignature):
		return nil, Wrong
	}
	return nil, Expired
}

// refused is why nothing that was signed with a secret is good at a time; empty where it may be.
func (s *hmacSecret) refused(now time.Time) Reason {
	if !s.notAfter.IsZero() && !now.Before(s.notAfter) {
		return Expired
	}
	return ""
}

// CheckPlain says why a plain signature of a visitor's ID is not good at a time; empty where it is. It names no secret, so each
// of them may have made it.
func (x *Chatbots) CheckPlain(chatbotID, userID, signature string, now time.Time) Reason {
	bot := x.find(chatbotID)
	reason, secrets := Wrong, bot.secrets
	if len(secrets) == 0 {
		reason, secrets = Unknown, []hmacSecret{{text: noSecret}}
	}
	for _, known := range secrets {
		err := identity.VerifyPlain(known.text, userID, signature)
		switch {
		case errors.Is(err, identity.ErrMalformed):
			return Malformed
		case err == nil && len(bot.secrets) > 0 && known.refused(now) == "":
			reason = ""
		}
	}
	if reason == "" && !bot.acceptPlain {
		return Disabled
	}
	return reason
}
