// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestChatbotIDsFollowFromTheUID(t *testing.T) {
	form, seen := regexp.MustCompile(`^cb_[0-9A-Za-z]{22}$`), map[string]bool{}
	for i := range 1000 {
		uid := fmt.Sprintf("7771c11c-2610-41ab-a832-%012x", i)
		id := ChatbotIDOf(uid)
		if !form.MatchString(id) || !ValidChatbotID(id) || seen[id] || ChatbotIDOf(uid) != id {
			t.Fatalf("%s has the ID %q", uid, id)
		}
		seen[id] = true
	}
	// This ID is in web pages: it must never change.
	if got, want := ChatbotIDOf("7771c11c-2610-41ab-a832-a339b9abcf1d"), "cb_bT3HB5GTj5ECnAyvhUx3yt"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatCanBeAChatbotID(t *testing.T) {
	for text, want := range map[string]bool{
		"cb_4f1c": true, "7": true, "a-b_c": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "_a": false, "-a": false, "a b": false, "a.b": false, `a"b`: false, "ä": false, "a\n": false,
	} {
		if ValidChatbotID(text) != want {
			t.Errorf("%q: valid is %t", text, !want)
		}
	}
}

func TestSecretsAreDrawn(t *testing.T) {
	form, seen := regexp.MustCompile(`^[0-9a-f]{64}$`), map[string]bool{}
	for range 100 {
		secret, err := MintSecret()
		if err != nil || !form.Match(secret) || seen[string(secret)] || CheckImported(secret) != nil {
			t.Fatalf("%d bytes (%v)", len(secret), err)
		}
		seen[string(secret)] = true
		if !lowerHex(KID(secret), 16) || strings.Contains(string(secret), KID(secret)) || strings.Contains(Hash(secret), KID(secret)) || seen[KID(secret)] {
			t.Fatalf("the kid %s", KID(secret))
		}
		seen[KID(secret)] = true
	}
}

func TestWhatCanBeImported(t *testing.T) {
	for length, ok := range map[int]bool{0: false, 1: false, 15: false, 16: true, 64: true, 1024: true, 1025: false} {
		if err := CheckImported([]byte(strings.Repeat("s", length))); (err == nil) != ok {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

func TestHasSurroundingSpace(t *testing.T) {
	for text, want := range map[string]bool{
		"0123456789abcdef": false, "0123456789 abcdef": false, "": false, "\xff\xfe0123456789": false,
		"0123456789abcdef\n": true, "0123456789abcdef\r\n": true, " 0123456789abcdef": true, "\t0123456789abcdef": true,
		"0123456789abcdef\u00a0": true, "\ufeff0123456789abcdef": true, "\n\n": true,
	} {
		if got := HasSurroundingSpace([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
