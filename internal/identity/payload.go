// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The required claims of a payload. It can have others, of any name and form.
const (
	chatbotIDClaim = "chatbotId"
	userIDClaim    = "userId"
	issuedClaim    = "iat"
	expiresClaim   = "exp"
)

const (
	maxUserID = 256
	// maxDepth is the largest depth of nested values, including the payload itself.
	maxDepth = 16
	// maxSeconds is the last second of the year 9999.
	maxSeconds = 253402300799
)

// Claims are the required claims of a payload.
type Claims struct {
	ChatbotID string
	UserID    string
	// IssuedAt and ExpiresAt are in whole seconds.
	IssuedAt, ExpiresAt time.Time
}

// validUserID rejects the replacement character, which readers write for invalid text: otherwise two such texts would be one visitor.
func validUserID(text string) bool {
	return len(text) > 0 && len(text) <= maxUserID && utf8.ValidString(text) && !strings.ContainsRune(text, utf8.RuneError)
}

// readPayload reads a payload. It rejects everything that two readers could understand in different ways: a name that occurs twice, or in
// another case, because some readers treat it as the same name; numbers that are not whole seconds; text that is not UTF-8. The error
// states the cause and repeats no part of the payload.
func readPayload(payload []byte) (Claims, error) {
	if len(payload) > maxPayload {
		return Claims{}, fmt.Errorf("the payload has %d bytes, at most %d are taken", len(payload), maxPayload)
	}
	if !utf8.Valid(payload) {
		return Claims{}, errors.New("the payload is not UTF-8")
	}
	r := reader{decoder: json.NewDecoder(bytes.NewReader(payload)), own: map[string]any{}}
	r.decoder.UseNumber()
	first, err := r.decoder.Token()
	if err != nil || first != json.Delim('{') {
		return Claims{}, errors.New("the payload is not a JSON object")
	}
	if err := r.object(1); err != nil {
		return Claims{}, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return Claims{}, errors.New("something comes after the payload's JSON object")
	}
	return r.claims()
}

// reader reads a payload once, from its start to its end.
type reader struct {
	decoder *json.Decoder
	// own are the values of the required claims.
	own map[string]any
}

// object reads the rest of an object after {, up to its }.
func (r *reader) object(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("the payload is nested deeper than %d", maxDepth)
	}
	names := map[string]bool{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return errors.New("the payload is not JSON")
		}
		name, ok := token.(string)
		if !ok {
			return errors.New("the payload is not JSON")
		}
		// Names are compared as the most tolerant reader compares them.
		folded := fold(name)
		if names[folded] {
			return errors.New("the payload has a name twice, perhaps in another case")
		}
		names[folded] = true
		value, err := r.value(depth)
		if err != nil {
			return err
		}
		if depth == 1 {
			if err := r.keep(name, value); err != nil {
				return err
			}
		}
	}
	return r.end()
}

// fold returns the same text for all texts that strings.EqualFold considers equal.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		least := c
		for next := unicode.SimpleFold(c); next != c; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

func (r *reader) array(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("the payload is nested deeper than %d", maxDepth)
	}
	for r.decoder.More() {
		if _, err := r.value(depth); err != nil {
			return err
		}
	}
	return r.end()
}

// value reads a value, and returns it if it is a scalar.
func (r *reader) value(depth int) (any, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, errors.New("the payload is not JSON")
	}
	switch token {
	case json.Delim('{'):
		return nil, r.object(depth + 1)
	case json.Delim('['):
		return nil, r.array(depth + 1)
	}
	return token, nil
}

func (r *reader) end() error {
	if _, err := r.decoder.Token(); err != nil {
		return errors.New("the payload is not JSON")
	}
	return nil
}

func (r *reader) keep(name string, value any) error {
	for _, own := range []string{chatbotIDClaim, userIDClaim, issuedClaim, expiresClaim} {
		switch {
		case name == own:
			r.own[own] = value
		case strings.EqualFold(name, own):
			return fmt.Errorf("the payload has %s in another case", own)
		}
	}
	return nil
}

func (r *reader) claims() (c Claims, err error) {
	chatbotID, _ := r.own[chatbotIDClaim].(string)
	userID, _ := r.own[userIDClaim].(string)
	if !ValidChatbotID(chatbotID) {
		return Claims{}, fmt.Errorf("%s is not a chatbot ID", chatbotIDClaim)
	}
	if !validUserID(userID) {
		return Claims{}, fmt.Errorf("%s is not a text of 1 to %d bytes", userIDClaim, maxUserID)
	}
	c.ChatbotID, c.UserID = chatbotID, userID
	if c.IssuedAt, err = r.second(issuedClaim); err != nil {
		return Claims{}, err
	}
	if c.ExpiresAt, err = r.second(expiresClaim); err != nil {
		return Claims{}, err
	}
	if lifetime := c.ExpiresAt.Sub(c.IssuedAt); lifetime <= 0 || lifetime > MaxLifetime {
		return Claims{}, fmt.Errorf("%s is not within %s after %s", expiresClaim, MaxLifetime, issuedClaim)
	}
	return c, nil
}

// second reads a time in whole seconds since 1970, written as digits only.
func (r *reader) second(claim string) (time.Time, error) {
	number, _ := r.own[claim].(json.Number)
	seconds, err := number.Int64()
	if err != nil || seconds < 0 || seconds > maxSeconds {
		return time.Time{}, fmt.Errorf("%s is not a time in whole seconds since 1970", claim)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
