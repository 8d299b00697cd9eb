// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// vectors were made by another program.
type vectors struct {
	Secret string
	Now    int64
	Valid  []struct{ Name, Token, Payload, KID, UserID string }
	// Malformed texts are unreadable; Wrong ones are readable, but not signed with the secret.
	Malformed, Wrong []struct{ Name, Token string }
	Plain            struct{ UserID, Signature string }
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	content, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Valid) == 0 || len(v.Malformed) == 0 || len(v.Wrong) == 0 {
		t.Fatal("the vectors are not there")
	}
	return v
}

func TestVectors(t *testing.T) {
	v := readVectors(t)
	secret, now := []byte(v.Secret), time.Unix(v.Now, 0)
	for _, tc := range v.Valid {
		token, err := Parse(tc.Token)
		if err != nil {
			t.Errorf("%s: %v", tc.Name, err)
			continue
		}
		if token.KID != tc.KID || token.KID != KID(secret) || string(token.Payload) != tc.Payload || token.Claims.UserID != tc.UserID {
			t.Errorf("%s: read as %s, %s, %+v", tc.Name, token.KID, token.Payload, token.Claims)
		}
		if err := token.Verify(secret, now); err != nil {
			t.Errorf("%s: %v", tc.Name, err)
		}
	}
	for _, tc := range v.Malformed {
		if _, err := Parse(tc.Token); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", tc.Name, err)
		}
	}
	for _, tc := range v.Wrong {
		token, err := Parse(tc.Token)
		if err != nil {
			t.Errorf("%s: %v", tc.Name, err)
			continue
		}
		if err := token.Verify(secret, now); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", tc.Name, err)
		}
	}
	if got := SignPlain(secret, v.Plain.UserID); got != v.Plain.Signature {
		t.Errorf("plain: %s", got)
	}
}

func TestWhenATokenIsGood(t *testing.T) {
	issued := time.Unix(1_800_000_000, 0)
	secret, err := MintSecret()
	if err != nil {
		t.Fatal(err)
	}
	text, err := Sign(secret, Claims{ChatbotID: "cb_1", UserID: "ann", IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)}, map[string]any{"email": "ann@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]error{
		-61 * time.Second: ErrNotYetValid, -60*time.Second - 1: ErrNotYetValid, -60 * time.Second: nil, 0: nil, time.Hour: nil,
		time.Hour + 60*time.Second - 1: nil, time.Hour + 60*time.Second: ErrExpired, 24 * time.Hour: ErrExpired,
	} {
		if err := token.Verify(secret, issued.Add(at)); !errors.Is(err, want) {
			t.Errorf("%s after its issue: %v, want %v", at, err, want)
		}
	}
	// A client must not learn whether a forged token has expired.
	if err := token.Verify([]byte("another secret of 24 bytes"), issued.Add(24*time.Hour)); !errors.Is(err, ErrSignature) {
		t.Errorf("with another secret: %v", err)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for name, tc := range map[string]struct {
		claims  Claims
		further map[string]any
	}{
		"no chatbot":        {Claims{"", "ann", at, at.Add(time.Hour)}, nil},
		"no visitor":        {Claims{"cb_1", "", at, at.Add(time.Hour)}, nil},
		"more than an hour": {Claims{"cb_1", "ann", at, at.Add(time.Hour + time.Second)}, nil},
		"before its issue":  {Claims{"cb_1", "ann", at, at.Add(-time.Second)}, nil},
		"another case":      {Claims{"cb_1", "ann", at, at.Add(time.Hour)}, map[string]any{"userID": "admin"}},
		"too much":          {Claims{"cb_1", "ann", at, at.Add(time.Hour)}, map[string]any{"x": strings.Repeat("y", maxPayload)}},
		"not JSON":          {Claims{"cb_1", "ann", at, at.Add(time.Hour)}, map[string]any{"x": func() {}}},
	} {
		if text, err := Sign([]byte("a secret of 20 bytes"), tc.claims, tc.further); err == nil || strings.Contains(err.Error(), "ann") {
			t.Errorf("%s: signed as %q, or says too much: %v", name, text, err)
		}
	}
}

func TestPlainSignatures(t *testing.T) {
	secret := []byte("a secret of 20 bytes")
	good := SignPlain(secret, "ann")
	for name, tc := range map[string]struct {
		userID, signature string
		want              error
	}{
		"good":            {"ann", good, nil},
		"another visitor": {"bob", good, ErrSignature},
		"upper case":      {"ann", strings.ToUpper(good), ErrMalformed},
		"half of it":      {"ann", good[:32], ErrMalformed},
		"no visitor":      {"", SignPlain(secret, ""), ErrMalformed},
		"not UTF-8":       {"\xff", SignPlain(secret, "\xff"), ErrMalformed},
	} {
		if err := VerifyPlain(secret, tc.userID, tc.signature); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	v := readVectors(f)
	secret := []byte(v.Secret)
	for _, tc := range v.Valid {
		f.Add(tc.Token)
	}
	for _, tc := range v.Malformed {
		f.Add(tc.Token)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		// Every reader reads the same content, and there is one text for it.
		var lenient struct {
			ChatbotID string `json:"chatbotId"`
			UserID    string `json:"userId"`
			Iat, Exp  int64
		}
		if err := json.Unmarshal(token.Payload, &lenient); err != nil || lenient.ChatbotID != token.Claims.ChatbotID || lenient.UserID != token.Claims.UserID ||
			lenient.Iat != token.Claims.IssuedAt.Unix() || lenient.Exp != token.Claims.ExpiresAt.Unix() {
			t.Fatalf("%s is read as %+v and as %+v (%v)", token.Payload, token.Claims, lenient, err)
		}
		signed := "v1." + base64url.EncodeToString(token.Payload) + "." + token.KID
		if again := signed + "." + token.signature; again != text {
			t.Fatalf("%q is also %q", text, again)
		}
		if good := token.Verify(secret, token.Claims.IssuedAt) == nil; good != (token.signature == tokenSignature(secret, signed)) {
			t.Fatalf("%q: good is %t", text, good)
		}
	})
}

// TestNamesThatSomeReadersTakeForOne: encoding/json, for one, takes ſ for s and the Kelvin sign for k.
func TestNamesThatSomeReadersTakeForOne(t *testing.T) {
	const claims = `"chatbotId":"cb_1","userId":"u","iat":1,"exp":2`
	for _, further := range []string{`"roles":[],"roleſ":["admin"]`, `"K":1,"k":2`, `"Σ":1,"ς":2`, `"a":1,"A":2`, `"x":{"s":1,"ſ":2}`, `"uſerId":"v"`} {
		if _, err := readPayload([]byte("{" + claims + "," + further + "}")); err == nil {
			t.Errorf("%s is taken", further)
		}
	}
	if _, err := readPayload([]byte("{" + claims + `,"s":1,"t":2,"ß":3,"ss":4}`)); err != nil {
		t.Error(err)
	}
}
