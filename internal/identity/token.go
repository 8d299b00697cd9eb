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
	// maxPayload is the largest size of a payload in bytes.
	maxPayload = 8 << 10
	// MaxLifetime is the longest time from iat to exp. A client that learns a token can act as that visitor for no longer.
	MaxLifetime = time.Hour
	// Leeway is the largest difference between the clocks of signer and verifier.
	Leeway = 60 * time.Second

	signatureDigits = 64
)

// The errors for a rejected token or plain signature. Clients do not see them.
var (
	ErrMalformed   = errors.New("not an identity token")
	ErrSignature   = errors.New("the signature is another one")
	ErrExpired     = errors.New("the token has expired")
	ErrNotYetValid = errors.New("the token was issued in the future")
)

// base64url is strict: it accepts only one of the texts that encode the same bytes.
var base64url = base64.RawURLEncoding.Strict()

// Token is a parsed token. Its content is trustworthy only after Verify.
type Token struct {
	// KID names the secret that the token claims to be signed with.
	KID string
	// Claims are the claims of the payload.
	Claims Claims
	// Payload is the JSON that was signed.
	Payload json.RawMessage

	signed    string
	signature string
}

// Sign returns a token about a visitor with the claims and further claims. It returns an error if Parse would reject the token.
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

// Parse reads a token. The error is always ErrMalformed.
func Parse(text string) (Token, error) {
	if len(text) > len(version)+base64url.EncodedLen(maxPayload)+kidDigits+signatureDigits+len("...") {
		return Token{}, ErrMalformed
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != version || !lowerHex(parts[2], kidDigits) || !lowerHex(parts[3], signatureDigits) {
		return Token{}, ErrMalformed
	}
	// The decoder skips line ends, which are not base64.
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

// Verify returns why a token that was signed with a secret is invalid at a time; nil if it is valid.
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

// SignPlain returns the signature of the plain form. It states only that a visitor has a user ID, and does not expire.
func SignPlain(secret []byte, userID string) string { return hex.EncodeToString(mac(secret, userID)) }

// VerifyPlain returns why a signature of the plain form is invalid; nil if it is valid. The error is ErrMalformed or ErrSignature.
func VerifyPlain(secret []byte, userID, signature string) error {
	switch {
	case !validUserID(userID) || !lowerHex(signature, signatureDigits):
		return ErrMalformed
	case !hmac.Equal([]byte(SignPlain(secret, userID)), []byte(signature)):
		return ErrSignature
	}
	return nil
}
