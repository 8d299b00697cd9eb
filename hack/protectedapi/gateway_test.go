// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestRequireGateway_DeniesWhatHasNotPassedIt, and takes missing headers for missing rights.
func TestRequireGateway_DeniesWhatHasNotPassedIt(t *testing.T) {
	api := requireGateway("conversations.read", greet)
	for name, tc := range map[string]struct {
		header http.Header
		want   int
	}{
		"passed":                  {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"a conversations.read"}}, 200},
		"a wildcard":              {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"conversations.*"}}, 200},
		"everything":              {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"*"}}, 200},
		"nothing":                 {nil, 403},
		"no key ID":               {http.Header{"X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"*"}}, 403},
		"an empty key ID":         {http.Header{"X-Dgbot-Key-Id": {""}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"*"}}, 403},
		"two key IDs":             {http.Header{"X-Dgbot-Key-Id": {"k", "l"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"*"}}, 403},
		"no scopes":               {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}}, 403},
		"scopes twice":            {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"", "*"}}, 403},
		"another scope":           {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"conversations.readers conversations"}}, 403},
		"a wildcard of another":   {http.Header{"X-Dgbot-Key-Id": {"k"}, "X-Dgbot-Environment": {"production"}, "X-Dgbot-Scopes": {"conversation*"}}, 403},
		"a key, but no gateway":   {http.Header{"Authorization": {"Bearer dgbot_x"}}, 403},
		"spelled with underscore": {http.Header{"X_dgbot_key_id": {"k"}, "X_dgbot_environment": {"production"}, "X_dgbot_scopes": {"*"}}, 403},
	} {
		request := httptest.NewRequest(http.MethodGet, "/conversations", nil)
		if tc.header != nil {
			request.Header = tc.header
		}
		answer := httptest.NewRecorder()
		if api.ServeHTTP(answer, request); answer.Code != tc.want {
			t.Errorf("%s: %d, want %d", name, answer.Code, tc.want)
		}
	}
}
