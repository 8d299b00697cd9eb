// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/exit"
)

// TestEveryVerb_ExplainsAServerThatDoesNotAnswer within --request-timeout.
func TestEveryVerb_ExplainsAServerThatDoesNotAnswer(t *testing.T) {
	key := clitest.Mint(t, "production")
	silent := clitest.APIServer(t, func(*http.Request) bool { return true })
	for verb, args := range map[string][]string{
		"list": {"list"}, "verifiers": {"verifiers"}, "audit": {"audit"}, "describe": {"describe", "web"}, "rotate": {"rotate", "web"}, "rotate --wait": {"rotate", "web", "--wait"},
		"a dry run": {"rotate", "web", "--dry-run"}, "all": {"rotate", "--all"}, "compromise": {"compromise", "web", "--yes"}, "compromise -": {"compromise", "-", "--yes"},
		"revoke": {"revoke", "web", "--yes"}, "disable": {"disable", "web"}, "enable": {"enable", "web"}, "verify": {"verify"},
	} {
		_, said, code := call(t, key, append(args, "--request-timeout=100ms", "--server="+silent)...)
		clitest.NoInnards(t, verb, said, "error: no answer in time from "+silent, "--request-timeout")
		if code != exit.CodeFailed || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d, %s", verb, code, said)
		}
	}
	for verb, args := range map[string][]string{"identify": {"identify"}, "scan": {"scan", "-"}} {
		_, said, _ := call(t, key, append(args, "--request-timeout=100ms", "--server="+silent)...)
		clitest.NoInnards(t, verb, said, "note: no cluster was asked", "no answer in time from "+silent)
	}
	// Only the patch is not answered.
	_, said, code := call(t, "", "rotate", "web", "--request-timeout=100ms", "--server="+clitest.APIServer(t, func(r *http.Request) bool { return r.Method == http.MethodPatch }))
	clitest.NoInnards(t, "a patch", said, "error: web: no answer in time from ")
	if code != exit.CodeFailed {
		t.Errorf("exit code %d", code)
	}
	// And what an API server says of its own deadline.
	busy := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		answer.WriteHeader(http.StatusGatewayTimeout)
		_ = json.NewEncoder(answer).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonTimeout, Code: http.StatusGatewayTimeout,
			Message: "Timeout: request did not complete within the requested timeout - context deadline exceeded",
		})
	}))
	t.Cleanup(busy.Close)
	_, said, _ = call(t, "", "list", "--server="+busy.URL)
	clitest.NoInnards(t, "a busy server", said, "error: the API server did not complete the request in time")
}

// TestFlags_TakeDays where a verb has a duration, and reject durations that it cannot mean.
func TestFlags_TakeDays(t *testing.T) {
	server := clitest.APIServer(t, clitest.Never)
	if out, said, code := call(t, "", "audit", "--unused-after=30d", "-o", "csv", "--server="+server); code != 0 {
		t.Errorf("exit code %d, %s%s", code, out, said)
	}
	for _, args := range [][]string{{"audit", "--unused-after=-1d"}, {"audit", "--unused-after=soon"}, {"rotate", "web", "--wait", "--timeout=0d"}} {
		if _, said, code := call(t, "", append(args, "--server="+server)...); code != exit.CodeUsage {
			t.Errorf("%v: exit code %d, %s", args, code, said)
		}
	}
}

// TestVersion_NeedsNoCluster, as a verb and as a flag.
func TestVersion_NeedsNoCluster(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		out, said, code := call(t, "", append(args, "--server=http://127.0.0.1:1")...)
		if code != 0 || !strings.HasPrefix(out, "kubectl-dgbot ") || !strings.Contains(out, "go1.") || said != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, said)
		}
	}
	var v struct{ Version, GoVersion, Platform string }
	out, _, _ := call(t, "", "version", "-o", "json")
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Version == "" || v.GoVersion == "" || v.Platform == "" {
		t.Errorf("%v: %s", err, out)
	}
	if _, _, code := call(t, "", "version", "now"); code != exit.CodeUsage {
		t.Errorf("exit code %d", code)
	}
}
