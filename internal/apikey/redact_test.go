// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// The ways in which webhooks and policies have been seen to quote what they were shown.
func TestNoEncodingOfAKeyIsLeft(t *testing.T) {
	drawn := rand.NewChaCha8([32]byte{1}) // the same each time: one half of a key in a thousand looks like a name
	for range 40 {
		key, err := mintFrom(drawn, "production")
		if err != nil {
			t.Fatal(err)
		}
		text := key.Reveal()
		secret := text[strings.LastIndex(text, "_")+1:]
		object, _ := json.Marshal(map[string]any{"data": map[string][]byte{"api-key": []byte(text)}, "type": "Opaque"})
		encode := base64.StdEncoding.EncodeToString
		for name, said := range map[string]string{
			"as it is": text, "base64": encode([]byte(text)), "base64 of base64": encode([]byte(encode([]byte(text)))), "hex": hex.EncodeToString([]byte(text)),
			"the object in base64": encode(object), "the object": string(object), "shifted": encode([]byte("xx" + text)), "URL": url.QueryEscape(text + "/+"),
			"its last part": secret, "half of it": secret[:25], "bytes": fmt.Sprintf("%d", []byte(text)), "Go syntax": fmt.Sprintf("%#v", []byte(text)),
			"a hex dump": fmt.Sprintf("% x", text), "colons": strings.ReplaceAll(fmt.Sprintf("% x", text), " ", ":"), "escaped": strings.ReplaceAll(text, "_", `\u005f`),
			"percent": strings.ReplaceAll(text, "_", "%5F"), "wrapped": encode(object)[:76] + "\n" + encode(object)[76:], "broken": text[:60] + "\n" + text[60:],
			"letter by letter": strings.Join(strings.Split(encode([]byte(text)), ""), " "), "spelled": strings.Join(strings.Split(text, ""), " "),
		} {
			left := RedactEncoded("it says: " + said + " and no more")
			for _, piece := range []string{secret[:12], secret[20:32], encode([]byte(text))[44:60], encode(object)[60:76], hex.EncodeToString([]byte(secret[20:30])), fmt.Sprintf("%d", []byte(secret[20:28]))[1:20], fmt.Sprintf("% x", secret[20:28]), strings.Join(strings.Split(secret[20:26], ""), " "), strings.Join(strings.Split(encode([]byte(text))[44:50], ""), " ")} {
				if strings.Contains(left, piece) {
					t.Errorf("%s leaves %q", name, left)
				}
			}
			if !strings.HasPrefix(left, "it says: ") || !strings.HasSuffix(left, " and no more") {
				t.Errorf("%s takes too much: %q", name, left)
			}
		}
	}
}

// TestRedact_FollowsTheForm: the longest and the shortest key, and each with its end cut off. A change of the lengths in
// key.go reaches the expressions of this package, or this test fails.
func TestRedact_FollowsTheForm(t *testing.T) {
	for _, environment := range []string{"p", strings.Repeat("e", maxEnvironment)} {
		key, err := Mint(environment)
		if err != nil {
			t.Fatal(err)
		}
		text, masked := key.Reveal(), key.Masked()
		for length := len(masked) - len("…") + 1; length <= len(text); length++ {
			if got := Redact(text[:length] + " and more"); got != masked+" and more" {
				t.Fatalf("%d of %d characters: %q", length, len(text), got)
			}
		}
		if full := regexp.MustCompile("^" + Form + "$"); !full.MatchString(text) || full.MatchString(text[1:]) || full.MatchString(text+"0") {
			t.Errorf("the form %s does not match exactly a key of environment %s", Form, environment)
		}
	}
	if longest, err := Mint(strings.Repeat("e", maxEnvironment)); err != nil || len(longest.Reveal()) != MaxLength {
		t.Errorf("the longest key has %d bytes, MaxLength is %d (%v)", len(longest.Reveal()), MaxLength, err)
	}
}

// What the API server says for itself is to stay readable.
func TestWhatIsNoKeyStaysReadable(t *testing.T) {
	for _, said := range []string{
		`secrets "production-server-3f9c2a1b" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=20, limited: secrets=20`,
		`admission webhook "validate-secrets.policies.example.com" denied the request: no key dgbot_production_7Hq2xV0aBcD9_… here`,
		`secrets "crm" is forbidden: ValidatingAdmissionPolicy 'no-secrets' with binding 'no-secrets' denied request: failed expression: false`,
		`failed calling webhook "a.b.io": failed to call webhook: Post "https://hook.system.svc:443/validate-v1-secret?timeout=10s": context deadline exceeded`,
		`Secret "x" is invalid: data: Forbidden: field is immutable when ` + "`immutable`" + ` is set`,
		`MutatingAdmissionPolicyBinding 7771c11c-2610-41ab-a832-a339b9abcf1d at 2026-11-24T10:00:00Z`,
	} {
		if left := RedactEncoded(said); left != said {
			t.Errorf("%q\nbecomes %q", said, left)
		}
	}
}
