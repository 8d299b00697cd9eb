// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

const (
	version = "v1"
	// maxPayload is the size in bytes from which on a payload is refused.
	maxPayload = 8 << 10
	// MaxLifetime is the longest time from iat to exp: whoever gets hold of a token can be that visitor for no longer.
	MaxLifetime = time.Hour
	// Leeway is how far the clocks of signer and verifier may be apart.
	Leeway = 60 * time.Second

	signatureDigits = 64
)

// Why a token or a plain signature is rejected. Clients do not learn it.
var (
	ErrMalformed   = errors.New("not an identity token")
	ErrSignature   = errors.New("the signature is another one")
	ErrExpired     = errors.New("the token has expired")
	ErrNotYetValid = errors.New("the token was issued in the future")
)

// base64url is strict: of the texts that stand for the same bytes only one is taken.
var base64url = base64.RawURLEncoding.Strict()

// Token is one that was read. Whose word it is, is known once it is verified.
type Token struct {
	// KID names the secret that it says it was signed with.
	KID string
	// Claims are what it says.
	Claims Claims
	// Payload is the JSON that was signed.
	Payload json.RawMessage

	signed    string
	signature string
}

// Sign returns a token that says of a visitor what the claims and further claims say. It fails where Parse would not read it.
func Sign(secret []byte, claims Claims, further map[string]any) (string, error) {
	all := maps.Clone(further)
	if all == nil {
		all = map[string]any{}
	}
	all[chatbotIDClaim], all[userIDClaim] = claims.ChatbotID, claims.UserID
	all[issuedClaim], all[expiresClaim] = claims.IssuedAt.Unix(), claims.ExpiresAt.Unix()
	payload, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("encoding a payload: %w", err)
	}
	if _, err := readPayload(payload); err != nil {
		return "", err
	}
	signed := strings.Join([]string{version, base64url.EncodeToString(payload), KID(secret)}, ".")
	return signed + "." + tokenSignature(secret, signed), nil
}

// Parse reads a token. The error is ErrMalformed, whatever is wrong.
func Parse(text string) (Token, error) {
	if len(text) > len(version)+base64url.EncodedLen(maxPayload)+kidDigits+signatureDigits+len("...") {
		return Token{}, ErrMalformed
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != version || !lowerHex(parts[2], kidDigits) || !lowerHex(parts[3], signatureDigits) {
		return Token{}, ErrMalformed
	}
	// It passes over line ends, which are not base64.
	payload, err := base64url.DecodeString(parts[1])
	if err != nil || strings.ContainsAny(parts[1], "\r\n") {
		return Token{}, ErrMalformed
	}
	claims, err := readPayload(payload)
	if err != nil {
		return Token{}, ErrMalformed
	}
	signature := parts[3]
	return Token{KID: parts[2], Claims: claims, Payload: payload, signed: text[:len(text)-len(signature)-len(".")], signature: signature}, nil
}

// Verify says why a token is not good at a time, as one that was signed with a secret; nil where it is good.
func (t Token) Verify(secret []byte, now time.Time) error {
	switch {
	case !hmac.Equal([]byte(tokenSignature(secret, t.signed)), []byte(t.signature)):
		return ErrSignature
	case now.Before(t.Claims.IssuedAt.Add(-Leeway)):
		return ErrNotYetValid
	case !now.Before(t.Claims.ExpiresAt.Add(Leeway)):
		return ErrExpired
	}
	return nil
}

func tokenSignature(secret []byte, signed string) string {
	return hex.EncodeToString(mac(mac(secret, tokenLabel), signed))
}

// SignPlain returns the signature of the plain form, which says no more than that a visitor has a user ID, for ever.
func SignPlain(secret []byte, userID string) string { return hex.EncodeToString(mac(secret, userID)) }

// VerifyPlain says why a signature of the plain form is not good; nil where it is. The error is ErrMalformed or ErrSignature.
func VerifyPlain(secret []byte, userID, signature string) error {
	switch {
	case !validUserID(userID) || !lowerHex(signature, signatureDigits):
		return ErrMalformed
	case !hmac.Equal([]byte(SignPlain(secret, userID)), []byte(signature)):
		return ErrSignature
	}
	return nil
}
