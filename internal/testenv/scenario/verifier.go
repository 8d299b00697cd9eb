// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/testenv"
)

// key writes an entry of a Secret to a file, and shows nothing: key FILE NAMESPACE/SECRET ENTRY.
func (s *Stage) key(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: key FILE NAMESPACE/SECRET ENTRY")
	}
	namespace, name, _ := strings.Cut(args[1], "/")
	secret, err := testenv.ReadSecret(ctx, s.Admin, namespace, name)
	ts.Check(err)
	if secret == nil || secret.Data[args[2]] == nil {
		ts.Fatalf("there is no Secret %s with an entry %s", args[1], args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), secret.Data[args[2]], 0o600))
}

// ask presents the key in a file to the verifier until it answers with a status code, and with a body that matches an expression if
// there is one: ask FILE CODE [EXPRESSION]. It shows the call as curl makes it, with the key masked.
func (s *Stage) ask(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: ask FILE CODE [EXPRESSION]")
	}
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	masked := "dgbot_…"
	if parsed, err := apikey.Parse(text); err == nil {
		masked = parsed.Masked()
	}
	s.Screen.command("curl", "-X", "POST", "-H", "Authorization: Bearer "+masked, s.Verifier.URL()+"/v1/verify")
	s.expect(ctx, ts, args[1:], func() (*http.Request, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Verifier.URL()+"/v1/verify", nil)
		if err == nil {
			request.Header.Set("Authorization", "Bearer "+text)
		}
		return request, err
	})
}

// sign writes a token for a visitor, signed with the HMAC secret in a file: sign FILE SECRETFILE CHATBOTIDFILE USER.
func (s *Stage) sign(_ context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: sign FILE SECRETFILE CHATBOTIDFILE USER")
	}
	now := time.Now()
	token, err := identity.Sign([]byte(ts.ReadFile(args[1])), identity.Claims{
		ChatbotID: ts.ReadFile(args[2]), UserID: args[3], IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
	}, nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token), 0o600))
}

// identify presents the token in a file, as ask does a key: identify FILE CODE [EXPRESSION].
func (s *Stage) identify(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: identify FILE CODE [EXPRESSION]")
	}
	token := strings.TrimSpace(ts.ReadFile(args[0]))
	body, err := json.Marshal(map[string]string{"token": token})
	ts.Check(err)
	shown := `{"token":"` + token[:min(len(token), 12)] + `…"}`
	s.Screen.command("curl", "-d", shown, s.Verifier.URL()+"/v1/identity/verify")
	s.expect(ctx, ts, args[1:], func() (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, s.Verifier.URL()+"/v1/identity/verify", strings.NewReader(string(body)))
	})
}

// expect sends a request until the answer is as wanted: a status code, and perhaps an expression.
func (s *Stage) expect(ctx context.Context, ts *testscript.TestScript, wanted []string, newRequest func() (*http.Request, error)) {
	code, err := strconv.Atoi(wanted[0])
	ts.Check(err)
	matching, err := regexp.Compile(strings.Join(wanted[1:], ""))
	ts.Check(err)
	var got int
	var body []byte
	answered := repeat(ctx, 50*time.Millisecond, func() bool {
		request, err := newRequest()
		ts.Check(err)
		if got, body, err = s.Verifier.Ask(request); err != nil {
			body = []byte(err.Error())
		}
		return got == code && matching.Match(body)
	})
	said := strconv.Itoa(got) + " " + strings.TrimSpace(string(body))
	s.Screen.output(said)
	_, _ = ts.Stdout().Write([]byte(said + "\n"))
	if !answered {
		ts.Fatalf("not within %s: an answer with %s", patience, strings.Join(wanted, " "))
	}
}
