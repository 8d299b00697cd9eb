// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// Chatbots holds the chatbots whose visitors can be identified, with the replicas of their HMAC secrets in the identity namespace. It is
// safe for concurrent use. It keeps nothing of other Secrets.
type Chatbots struct {
	// environments and namespaces select the chatbots; empty for all.
	environments, namespaces []string

	mutex sync.RWMutex
	// chatbots are keyed by the names of their replicas. A chatbot in it is immutable.
	chatbots map[string]*chatbot
}

// chatbot is what is kept of a replica.
type chatbot struct {
	id          string
	secrets     []hmacSecret
	acceptPlain bool
	generation  int32
}

type hmacSecret struct {
	kid  string
	text []byte
	// notAfter is zero for a secret without a time bound.
	notAfter time.Time
}

// noSecret stands in for an HMAC secret that is unknown, so that rejecting an identity takes as long as with a known one.
var noSecret = make([]byte, 64)

// NewChatbots returns an empty set, for chatbots of some environments and namespaces; none stands for all.
func NewChatbots(environments, namespaces []string) *Chatbots {
	return &Chatbots{environments: environments, namespaces: namespaces}
}

// Put stores the chatbot of a replica, which belongs to a generation, in place of the chatbot of the Secret with this name. There is no
// chatbot if the Secret is no replica. The error states why a replica is invalid.
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

// readChatbot returns the chatbot of a replica; nil for another Secret. The name of the replica follows from the ID, so an ID has one
// replica: no other Secret can add to it or remove it. The ID and the HMAC secrets are kept, so both are bounded: a Secret holds up to 1 MiB.
func readChatbot(secret *corev1.Secret) (*chatbot, error) {
	id := string(secret.Data[v1alpha1.IdentityChatbotID])
	if identity.ReservationName(id) != secret.Name || !identity.ValidChatbotID(id) {
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
		// The kid follows from the secret. An entry of the replica is not trusted: it could give one secret the kid of another.
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

// covers reports whether a replica belongs to a chatbot in the selected environments and namespaces.
func (x *Chatbots) covers(secret *corev1.Secret) bool {
	return isAmong(x.environments, string(secret.Data[v1alpha1.CopyEnvironment])) && isAmong(x.namespaces, string(secret.Data[v1alpha1.CopyNamespace]))
}

// Remove removes the chatbot of a replica.
func (x *Chatbots) Remove(secret *corev1.Secret) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	delete(x.chatbots, secret.Name)
}

// Sweep removes the chatbots whose replicas a generation does not contain.
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

// find returns a chatbot by its ID. An unknown chatbot has no HMAC secrets.
func (x *Chatbots) find(id string) *chatbot {
	x.mutex.RLock()
	defer x.mutex.RUnlock()
	if bot := x.chatbots[identity.ReservationName(id)]; bot != nil && bot.id == id {
		return bot
	}
	return &chatbot{}
}

// CheckToken returns the payload of a token that is accepted at a time, or nil and the reason for which it is rejected.
func (x *Chatbots) CheckToken(text string, now time.Time) (json.RawMessage, Reason) {
	token, err := identity.Parse(text)
	if err != nil {
		return nil, Malformed
	}
	secret, reason := noSecret, Unknown
	for _, known := range x.find(token.Claims.ChatbotID).secrets {
		if known.kid == token.KID {
			secret, reason = known.text, known.rejects(now)
		}
	}
	// A token is verified with an unknown secret as well, so that all rejections take the same steps.
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

// rejects returns why all signatures with the secret are rejected at a time; empty if they are not.
func (s *hmacSecret) rejects(now time.Time) Reason {
	if !s.notAfter.IsZero() && !now.Before(s.notAfter) {
		return Expired
	}
	return ""
}

// CheckPlain returns why a plain signature of a visitor's ID is rejected at a time; empty if it is accepted. A plain signature does not
// name its secret, so all secrets of the chatbot are tried.
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
		case err == nil && len(bot.secrets) > 0 && known.rejects(now) == "":
			reason = ""
		}
	}
	if reason == "" && !bot.acceptPlain {
		return Disabled
	}
	return reason
}
