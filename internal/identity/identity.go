// SPDX-License-Identifier: Apache-2.0

// Package identity defines the texts that belong to a chatbot: its public ID, its HMAC secret, and the tokens with which a customer's
// server signs who a visitor is. A token is
//
//	v1.<payload>.<kid>.<signature>
//
// with the payload as JSON in base64url without padding, the kid that names the secret, and the signature as 64 lower-case hex
// digits of HMAC-SHA256(k, "v1.<payload>.<kid>"), where k is HMAC-SHA256(secret, "dgbot identity v1"). Signing with a derived
// key keeps a signature of the plain form, which signs a text of the visitor's choice, from being one of a token.
// testdata/vectors.json holds test vectors.
package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"unicode"
)

const (
	// ChatbotIDPrefix begins every issued chatbot ID. An adopted ID can have another form.
	ChatbotIDPrefix = "cb_"

	// 22 base62 characters are 131 bits.
	chatbotIDLength  = 22
	maxChatbotID     = 64
	secretBytes      = 32
	minImportedBytes = 16
	maxImportedBytes = 1024
	kidDigits        = 16

	chatbotIDLabel = "dgbot chatbot id v1"
	kidLabel       = "dgbot identity kid v1"
	tokenLabel     = "dgbot identity v1" //nolint:gosec // it is no secret
)

var chatbotIDs = new(big.Int).Exp(big.NewInt(62), big.NewInt(chatbotIDLength), nil)

// ChatbotIDOf returns the ID that the operator issues to the object with a uid: cb_ and 22 base62 characters. The ID is computed from the
// uid, so that all instances agree and a crash loses nothing. An ID is public and need not be hard to guess.
func ChatbotIDOf(uid string) string {
	n := new(big.Int).SetBytes(mac([]byte(chatbotIDLabel), uid))
	digits := n.Mod(n, chatbotIDs).Text(62)
	return ChatbotIDPrefix + strings.Repeat("0", chatbotIDLength-len(digits)) + digits
}

// ValidChatbotID reports whether a text can be a chatbot ID, issued or adopted: 1 to 64 letters, digits, "_" and "-", beginning with a
// letter or a digit.
func ValidChatbotID(text string) bool {
	if len(text) == 0 || len(text) > maxChatbotID || text[0] == '_' || text[0] == '-' {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ReservationName returns the name of an ID's reservation, and of the replica of its HMAC secret: "chatbot-" and the first 16 hex digits of the
// ID's SHA-256.
func ReservationName(chatbotID string) string {
	sum := sha256.Sum256([]byte(chatbotID))
	return "chatbot-" + hex.EncodeToString(sum[:8])
}

// MintSecret draws a new HMAC secret: 256 bits as 64 lower-case hex digits. These digits are the HMAC key; nothing decodes them.
func MintSecret() ([]byte, error) {
	drawn := make([]byte, secretBytes)
	if _, err := rand.Read(drawn); err != nil {
		return nil, fmt.Errorf("drawing an HMAC secret: %w", err)
	}
	return hex.AppendEncode(nil, drawn), nil
}

// CheckImported returns why a secret of a user cannot be imported; nil if it can. It checks only the length, because nothing else is known
// about the strength of the secret: under 16 bytes it cannot have 128 bits. The error holds no byte of the secret.
func CheckImported(secret []byte) error {
	switch n := len(secret); {
	case n == 0:
		return errors.New("the entry is empty")
	case n < minImportedBytes:
		return fmt.Errorf("the entry has %d bytes, and at least %d are required", n, minImportedBytes)
	case n > maxImportedBytes:
		return fmt.Errorf("the entry has %d bytes, and at most %d are allowed", n, maxImportedBytes)
	}
	return nil
}

// HasSurroundingSpace reports whether a secret begins or ends with white space or a byte order mark: "echo" ends its output with a line
// feed, and editors and PowerShell add the others. A server that reads the secret from elsewhere signs without them.
func HasSurroundingSpace(secret []byte) bool {
	return len(bytes.TrimFunc(secret, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })) < len(secret)
}

// KID returns the name of a secret in tokens: 16 lower-case hex digits, computed from the secret. So no table of names is necessary, and
// the name does not reveal the secret.
func KID(secret []byte) string {
	return hex.EncodeToString(mac(secret, kidLabel))[:kidDigits]
}

// Hash returns the SHA-256 of a secret as "sha256:" and 64 lower-case hex digits.
func Hash(secret []byte) string {
	sum := sha256.Sum256(secret)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// lowerHex reports whether a text consists of that many lower-case hex digits.
func lowerHex(text string, digits int) bool {
	if len(text) != digits {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
