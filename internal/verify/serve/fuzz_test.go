// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// FuzzHandler checks that all requests are answered and only the key is accepted.
func FuzzHandler(f *testing.F) {
	b := newBench(f)
	for _, seed := range []struct{ path, authorization, apiKey, body string }{
		{"/v1/verify", "Bearer " + b.key, "", `{"scopes":["a.b"]}`}, {"/check/x", "", b.key, ""}, {"/check", "bearer " + b.key, b.key, "{"},
		{"/v1/verify", "Bearer  " + b.key, "", ""}, {"/v1/verify", "Basic Zm9v", b.key[:40], `{"scopes":["*"]}`}, {"//", "", "", ""},
	} {
		f.Add(seed.path, seed.authorization, seed.apiKey, seed.body)
	}
	f.Fuzz(func(t *testing.T, path, authorization, apiKey, body string) {
		asked := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		asked.URL.Path = path
		asked.Header = http.Header{"Authorization": {authorization}, "X-Api-Key": {apiKey}}
		asked.Header.Set(requiredHeader, body)
		answer := httptest.NewRecorder()
		b.Handler().ServeHTTP(answer, asked)
		health := path == "/healthz" || path == "/readyz"
		if answer.Code == http.StatusOK && !health && !strings.Contains(authorization+" "+apiKey, b.key) {
			t.Errorf("admitted without the key")
		}
		if answer.Code != http.StatusOK && strings.Contains(answer.Body.String(), b.key) {
			t.Errorf("the key is in the answer")
		}
	})
}

// FuzzSplitScopes checks that required scopes are concrete, and that no scope is granted that is not in the list.
func FuzzSplitScopes(f *testing.F) {
	for _, seed := range []string{"a.b c.*", "*", "a.b,c.d", " , ", "a.*.b", "\x00"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, granted, asked string) {
		scopes, ok := splitScopes([]string{asked})
		if !ok {
			return
		}
		for _, scope := range scopes {
			if !v1alpha1.Scope(scope).IsConcrete() {
				t.Errorf("%q is asked for", scope)
			}
			if grants(granted, scope) && !strings.Contains(granted, "*") && !strings.Contains(granted, scope) {
				t.Errorf("%q grants %q", granted, scope)
			}
		}
	})
}
