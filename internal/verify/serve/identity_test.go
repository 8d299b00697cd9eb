// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

var (
	stranger = []byte(strings.Repeat("c3", 32))
	// zeros are the bytes that replace an unknown HMAC secret.
	zeros = make([]byte, 64)
)

func newIdentityBench(t testing.TB, copies ...*corev1.Secret) *bench {
	t.Helper()
	b := newBench(t)
	for _, secret := range copies {
		if err := b.chatbots.Put(secret, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	b.identityFreshness.hear()
	return b
}

func (b *bench) identify(body string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	b.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/v1/identity/verify", strings.NewReader(body)))
	return answer
}

func sign(t testing.TB, secret []byte, chatbotID string, further map[string]any) string {
	t.Helper()
	token, err := identity.Sign(secret, identity.Claims{ChatbotID: chatbotID, UserID: "u-1", IssuedAt: verifytest.Epoch, ExpiresAt: verifytest.Epoch.Add(time.Hour)}, further)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func tokenBody(token string) string { return fmt.Sprintf(`{"token":%q}`, token) }

func plainBody(id, user, hash string) string {
	return fmt.Sprintf(`{"chatbotId":%q,"userId":%q,"hash":%q}`, id, user, hash)
}

// unsigned is a token with a payload of any form, signed with the present secret.
func unsigned(payload string) string {
	signed := "v1." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + identity.KID(verifytest.Secret)
	return signed + "." + strings.Repeat("0", 64)
}

func TestIdentity_AcceptsTokensAndPlainSignatures(t *testing.T) {
	b := newIdentityBench(t, verifytest.Replica("cb_1", nil))
	token := sign(t, verifytest.Secret, "cb_1", map[string]any{"plan": "pro"})
	answer := b.identify(tokenBody(token))
	var payload map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &payload); err != nil || answer.Code != 200 || payload["userId"] != "u-1" || payload["plan"] != "pro" || payload["chatbotId"] != "cb_1" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if answer.Header().Get("Content-Type") != "application/json" || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v", answer.Header())
	}
	if answer := b.identify(tokenBody(sign(t, verifytest.PreviousSecret, "cb_1", nil))); answer.Code != 200 {
		t.Errorf("the earlier secret: %d", answer.Code)
	}
	answer = b.identify(plainBody("cb_1", "u-1", identity.SignPlain(verifytest.PreviousSecret, "u-1")))
	if got := strings.TrimSpace(answer.Body.String()); answer.Code != 200 || got != `{"chatbotId":"cb_1","userId":"u-1"}` {
		t.Errorf("plain: %d %s", answer.Code, got)
	}
	b.clock.Pass(time.Hour)
	b.identityFreshness.hear()
	if answer := b.identify(plainBody("cb_1", "u-1", identity.SignPlain(verifytest.PreviousSecret, "u-1"))); answer.Code != 401 {
		t.Errorf("the earlier secret after its end: %d", answer.Code)
	}
	if answer := b.identify(tokenBody(token)); answer.Code != 200 {
		t.Errorf("the token at its end, within the leeway: %d", answer.Code)
	}
	b.clock.Pass(identity.Leeway)
	if answer := b.identify(tokenBody(token)); answer.Code != 401 {
		t.Errorf("the token after it: %d", answer.Code)
	}
}

// TestIdentity_AnswersAllRejectionsAlike covers that no answer tells the reason.
func TestIdentity_AnswersAllRejectionsAlike(t *testing.T) {
	b := newIdentityBench(t, verifytest.Replica("cb_1", nil), verifytest.Replica("cb_2", func(s *corev1.Secret) {
		s.Data = map[string][]byte{"chatbot-id": []byte("cb_2"), "accept-plain": []byte("false"), "hmac-secret": stranger}
	}))
	good := sign(t, verifytest.Secret, "cb_1", nil)
	claims := fmt.Sprintf(`"chatbotId":"cb_1","userId":"u","iat":%d,"exp":%d`, verifytest.Epoch.Unix(), verifytest.Epoch.Unix()+60)
	rejected := map[string]string{
		"a tampered payload":               strings.Replace(good, ".", ".A", 1),
		"a tampered signature":             good[:len(good)-1] + "g",
		"another signature":                good[:len(good)-64] + strings.Repeat("0", 64),
		"another kid":                      strings.Replace(good, identity.KID(verifytest.Secret), identity.KID(verifytest.PreviousSecret), 1),
		"an unknown kid":                   sign(t, stranger, "cb_1", nil),
		"another chatbot's secret":         sign(t, verifytest.Secret, "cb_2", nil),
		"an unknown chatbot":               sign(t, verifytest.Secret, "cb_3", nil),
		"an unknown chatbot, signed by 00": sign(t, zeros, "cb_3", nil),
		"junk":                             "junk",
		"a payload over 8 KiB":             unsigned(`{` + claims + `,"x":"` + strings.Repeat("x", 8<<10) + `"}`),
		"deep nesting":                     unsigned(`{` + claims + `,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`),
		"a name twice":                     unsigned(`{` + claims + `,"userId":"v"}`),
	}
	bodies := map[string]string{}
	for name, token := range rejected {
		bodies[name] = tokenBody(token)
	}
	bodies["plain where plain is off"] = plainBody("cb_2", "u-1", identity.SignPlain(stranger, "u-1"))
	bodies["plain of another visitor"] = plainBody("cb_1", "u-2", identity.SignPlain(verifytest.Secret, "u-1"))
	bodies["plain of an unknown chatbot"] = plainBody("cb_3", "u-1", identity.SignPlain(zeros, "u-1"))
	bodies["plain that is no signature"] = plainBody("cb_1", "u-1", "junk")
	bodies["a token's signature as a plain one"] = plainBody("cb_1", good[:len(good)-65], good[len(good)-64:])
	first := b.identify(bodies["junk"])
	if first.Header().Get("WWW-Authenticate") != "Bearer" || strings.TrimSpace(first.Body.String()) != `{"valid":false}` {
		t.Errorf("%v %s", first.Header(), first.Body)
	}
	for name, body := range bodies {
		answer := b.identify(body)
		if answer.Code != 401 || answer.Body.String() != first.Body.String() || fmt.Sprint(answer.Header()) != fmt.Sprint(first.Header()) {
			t.Errorf("%s: %d %v %s", name, answer.Code, answer.Header(), answer.Body)
		}
	}
}

func TestIdentity_RejectsOtherBodies(t *testing.T) {
	b := newIdentityBench(t, verifytest.Replica("cb_1", nil))
	token := sign(t, verifytest.Secret, "cb_1", nil)
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "token", "a list": "[]", "no field": "{}", "an unknown field": `{"token":"x","y":"z"}`,
		"a name twice": fmt.Sprintf(`{"token":%q,"token":%q}`, token, token), "another case": fmt.Sprintf(`{"Token":%q}`, token),
		"a number": `{"token":1}`, "an empty token": `{"token":""}`, "null": "null", "a field that is null": `{"token":null,"chatbotId":"cb_1","userId":"u","hash":"h"}`,
		"two of three": `{"chatbotId":"cb_1","userId":"u"}`,
		"both forms":   fmt.Sprintf(`{"token":%q,"chatbotId":"cb_1","userId":"u","hash":"h"}`, token), "nested": `{"token":{"a":"b"}}`,
		"more behind it": tokenBody(token) + "{}", "not closed": `{"token":"x"`, "too long": tokenBody(strings.Repeat("x", maxIdentityBody)),
	} {
		answer := b.identify(body)
		if answer.Code != 400 || !strings.Contains(answer.Body.String(), `want {\"token\"`) || strings.Contains(answer.Body.String(), token) {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
	get := httptest.NewRecorder()
	b.Handler().ServeHTTP(get, httptest.NewRequest(http.MethodGet, "/v1/identity/verify", nil))
	if get.Code != 405 || get.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", get.Code, get.Header())
	}
	b.clock.Pass(3 * time.Minute)
	if answer := b.identify(tokenBody(token)); answer.Code != 503 {
		t.Errorf("without a sign of life: %d", answer.Code)
	}
	b.freshness.hear()
	if answer := b.do("/v1/verify", request{header: bearerOf(b.key)}); answer.Code != 200 {
		t.Errorf("a key meanwhile: %d", answer.Code)
	}
}

// TestIdentity_IgnoresSecretsThatAreNoReplicas covers that another Secret in the identity namespace adds no HMAC secret and removes none.
func TestIdentity_IgnoresSecretsThatAreNoReplicas(t *testing.T) {
	b := newIdentityBench(t, verifytest.Replica("cb_1", nil))
	token := tokenBody(sign(t, verifytest.Secret, "cb_1", nil))
	// The name of the replica follows from the ID.
	if err := b.chatbots.Put(verifytest.Replica("cb_1", func(s *corev1.Secret) { s.Name = "other"; s.Data["hmac-secret"] = stranger }), 0, 1); err != nil {
		t.Error(err)
	}
	if b.identify(token).Code != 200 || b.identify(tokenBody(sign(t, stranger, "cb_1", nil))).Code != 401 {
		t.Error("a Secret of another name counts")
	}
	b.chatbots.Remove(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
	if b.identify(token).Code != 200 {
		t.Error("it took something away")
	}
	for name, change := range map[string]func(*corev1.Secret){
		"a secret that is too short": func(s *corev1.Secret) { s.Data["hmac-secret"] = []byte("short") },
		"an end that is no time":     func(s *corev1.Secret) { s.Data["not-after-previous"] = []byte("soon") },
		"another ID":                 func(s *corev1.Secret) { s.Data["chatbot-id"] = []byte("cb_2") },
	} {
		_ = b.chatbots.Put(verifytest.Replica("cb_1", change), 0, 1)
		if b.identify(token).Code != 401 {
			t.Errorf("%s counts", name)
		}
		if err := b.chatbots.Put(verifytest.Replica("cb_1", nil), 0, 1); err != nil || b.identify(token).Code != 200 {
			t.Fatal("the copy does not count again")
		}
	}
	b.chatbots.Sweep(0, 2)
	if b.identify(token).Code != 401 || b.chatbots.Len() != 0 {
		t.Error("what is not in a new list counts")
	}
}

func TestIdentity_RejectsOtherEnvironmentsAndNamespaces(t *testing.T) {
	for _, tc := range []struct {
		environments, namespaces []string
		want                     int
	}{
		{nil, nil, 200}, {[]string{"staging", "production"}, nil, 200}, {[]string{"staging"}, nil, 401},
		{nil, []string{"support"}, 200}, {nil, []string{"sales"}, 401},
	} {
		b := newBench(t)
		b.chatbots = index.NewChatbots(tc.environments, tc.namespaces)
		b.use()
		if err := b.chatbots.Put(verifytest.Replica("cb_1", nil), 0, 1); err != nil {
			t.Fatal(err)
		}
		b.identityFreshness.hear()
		if got := b.identify(tokenBody(sign(t, verifytest.Secret, "cb_1", nil))).Code; got != tc.want {
			t.Errorf("%v %v: %d, want %d", tc.environments, tc.namespaces, got, tc.want)
		}
	}
}

// FuzzReadClaim checks that readClaim reads the same values as encoding/json.
func FuzzReadClaim(f *testing.F) {
	for _, body := range []string{"", "{}", `{"token":"x"}`, `{"chatbotId":"c","userId":"u","hash":"h"}`, `{"token":"x","token":"y"}`, `{"token":"x"}{}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, err := readClaim(strings.NewReader(body))
		if err != nil {
			return
		}
		var plain map[string]string
		if err := json.Unmarshal([]byte(body), &plain); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		read := []string{c.Token, c.ChatbotID, c.UserID, c.Hash}
		if !slices.Equal(read, []string{plain["token"], plain["chatbotId"], plain["userId"], plain["hash"]}) {
			t.Fatalf("%q was read as %q", body, read)
		}
	})
}
