// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

const visitor = "u-1042"

func (t *tour) vouchForVisitor() error {
	if _, err := t.kubectl("describe secret support-bot-identity -n support"); err != nil {
		return err
	}
	first, err := t.hmacSecret()
	if err != nil {
		return err
	}
	before, err := t.signVisitor(first)
	if err != nil {
		return err
	}
	t.say("The shop's server signs that visitor %s is who he says (docs/visitor-identity.md has it in Go, Node.js, Python and shell):", visitor)
	if err := t.identify("the token", before, true); err != nil {
		return err
	}
	if err := t.identify("the token with another user ID in its payload", tampered(before), false); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	for _, line := range []string{
		"annotate dgbotcb support-bot -n support keys.dgbot.io/rotate-requested-at=" + now,
		"wait --for=jsonpath='{.status.lastHandledRequest.rotateRequestedAt}'=" + now + " dgbotcb/support-bot -n support --timeout=30s",
		"get dgbotcb support-bot -n support -o wide",
		"get dgbotcb support-bot -n support -o jsonpath='{.status.previous[0]}'",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	second, err := t.hmacSecret()
	if err != nil {
		return err
	}
	const previous = v1alpha1.IdentitySecretKey + v1alpha1.IdentityPreviousSuffix
	if err := t.expect(!bytes.Equal(first[v1alpha1.IdentitySecretKey], second[v1alpha1.IdentitySecretKey]) &&
		bytes.Equal(first[v1alpha1.IdentitySecretKey], second[previous]), "the Secret does not have the new HMAC secret and the previous one"); err != nil {
		return err
	}
	after, err := t.signVisitor(second)
	if err != nil {
		return err
	}
	if err := t.identify("a token of the new secret", after, true); err != nil {
		return err
	}
	if err := t.identify("the token of the old one, within the overlap", before, true); err != nil {
		return err
	}
	return t.revokeHMACSecret(after)
}

func (t *tour) revokeHMACSecret(token string) error {
	t.say("The secret has leaked:")
	bot := &v1alpha1.DGbotChatbot{}
	if err := t.client.Get(t.ctx, types.NamespacedName{Namespace: namespace, Name: "support-bot"}, bot); err != nil {
		return err
	}
	until := bot.Status.Current.IssuedAt.UTC().Format(time.RFC3339)
	for _, line := range []string{
		"annotate dgbotcb support-bot -n support keys.dgbot.io/revoke-issued-before=" + until,
		"wait --for=jsonpath='{.status.lastHandledRequest.revokeIssuedBefore}'=" + until + " dgbotcb/support-bot -n support --timeout=30s",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	if err := t.identify("what was signed with it", token, false); err != nil {
		return err
	}
	third, err := t.hmacSecret()
	if err != nil {
		return err
	}
	next, err := t.signVisitor(third)
	if err != nil {
		return err
	}
	return t.identify("a token of the secret that replaces it", next, true)
}

// hmacSecret returns what is published for the chatbot.
func (t *tour) hmacSecret() (map[string][]byte, error) {
	secret := &corev1.Secret{}
	err := t.client.Get(t.ctx, types.NamespacedName{Namespace: namespace, Name: "support-bot-identity"}, secret)
	return secret.Data, err
}

func (t *tour) signVisitor(secret map[string][]byte) (string, error) {
	now := time.Now()
	return identity.Sign(secret[v1alpha1.IdentitySecretKey], identity.Claims{
		ChatbotID: string(secret[v1alpha1.IdentityChatbotID]), UserID: visitor, IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
	}, map[string]any{"plan": "pro"})
}

// tampered is a token that says something else than was signed.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	other, _ := identity.Sign([]byte(strings.Repeat("x", 64)), identity.Claims{
		ChatbotID: "cb_other", UserID: "u-1", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute),
	}, nil)
	parts[1] = strings.Split(other, ".")[1]
	return strings.Join(parts, ".")
}

// identify asks the verifier for a visitor as curl does, for at most verifierDelay, and shows the answer.
func (t *tour) identify(what, token string, good bool) error {
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		return err
	}
	var code int
	var said []byte
	err = t.eventually("the verifier knows the secret", verifierDelay, func() (bool, error) {
		var err error
		code, said, err = t.askIdentity(body)
		return err == nil && (code == http.StatusOK) == good, err
	})
	t.say("%s:", what)
	t.say(`  $ curl -d '{"token":"%s…%s"}' %s/v1/identity/verify`, token[:20], token[len(token)-8:], t.stack.verifier.URL())
	t.say("    %d %s", code, bytes.TrimSpace(said))
	if err != nil {
		return err
	}
	want := http.StatusUnauthorized
	if good {
		want = http.StatusOK
	}
	return t.expect(code == want && (!good || strings.Contains(string(said), fmt.Sprintf("%q", visitor))), "the verifier answers %d %s", code, said)
}

func (t *tour) askIdentity(body []byte) (code int, said []byte, err error) {
	request, err := http.NewRequestWithContext(t.ctx, http.MethodPost, t.stack.verifier.URL()+"/v1/identity/verify", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	said, err = io.ReadAll(response.Body)
	return response.StatusCode, said, err
}
