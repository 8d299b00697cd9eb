// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// apiServer answers as an API server does that has one key, whose operator does nothing. What isSlow answers only when the client has
// gone.
func apiServer(t *testing.T, isSlow func(*http.Request) bool) string {
	t.Helper()
	key := healthy("web")
	key.TypeMeta, key.UID, key.Generation, key.Status.ObservedGeneration = typeMeta(v1alpha1.APIKeyKind), "1", 1, 1
	key.Status.Conditions = append(key.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.WaitingForChatbotReason, Message: "DGbotChatbot bot has no ID yet",
	})
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if isSlow(request) {
			// Only when the body has been read does the server notice that the client has gone.
			_, _ = io.Copy(io.Discard, request.Body)
			<-request.Context().Done()
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		var object any = key
		switch {
		case request.URL.Path == "/version":
			object = map[string]string{}
		case strings.HasSuffix(request.URL.Path, "/"+"dgbotapikeys"):
			object = v1alpha1.DGbotAPIKeyList{TypeMeta: typeMeta(v1alpha1.APIKeyKind + "List"), Items: []v1alpha1.DGbotAPIKey{*key}}
		case strings.HasSuffix(request.URL.Path, "/"+"dgbotapikeyrecords"):
			object = v1alpha1.DGbotAPIKeyRecordList{TypeMeta: typeMeta(v1alpha1.APIKeyRecordKind + "List")}
		}
		_ = json.NewEncoder(answer).Encode(object)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// innards are what libraries say of their own parts.
var innards = []string{"rate limiter", "context deadline", "context canceled", "Client.Timeout", "i/o timeout"}

// noInnards asserts that a message names what failed, and no part of a library.
func noInnards(t *testing.T, what, said string, want ...string) {
	t.Helper()
	for _, never := range innards {
		if strings.Contains(said, never) {
			t.Errorf("%s: %q in %s", what, never, said)
		}
	}
	for _, one := range want {
		if !strings.Contains(said, one) {
			t.Errorf("%s: no %q in %s", what, one, said)
		}
	}
}

func never(*http.Request) bool { return false }

// TestWait_NamesTheKeyAtTheDeadline, whether the API server answers until then or not.
func TestWait_NamesTheKeyAtTheDeadline(t *testing.T) {
	args := func(verb string) []string {
		all := []string{verb, "web", "--wait", "-n", "support"}
		if verb == "compromise" {
			all = append(all, "--yes")
		}
		return all
	}
	for _, verb := range []string{"rotate", "compromise"} {
		for _, timeout := range []string{"1ms", "700ms", "1s"} {
			_, said, code := call(t, "", append(args(verb), "--timeout="+timeout, "--server="+apiServer(t, never))...)
			want := []string{"error: web: not done in time: ", " requested at 20", "kubectl dgbot describe web -n support"}
			if timeout != "1ms" {
				want = append(want, "WaitingForChatbot: DGbotChatbot bot has no ID yet")
			}
			noInnards(t, verb+" "+timeout, said, want...)
			if code != ExitNo {
				t.Errorf("%s %s: exit code %d", verb, timeout, code)
			}
		}
		patched := false
		silent := apiServer(t, func(request *http.Request) bool {
			waits := patched && request.Method == http.MethodGet
			patched = patched || request.Method == http.MethodPatch
			return waits
		})
		_, said, code := call(t, "", append(args(verb), "--timeout=300ms", "--server="+silent)...)
		noInnards(t, verb+" of a server that stops answering", said, "error: web: not done in time: ", "the API server did not answer")
		if code != ExitNo {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestEveryVerb_ExplainsAServerThatDoesNotAnswer within --request-timeout.
func TestEveryVerb_ExplainsAServerThatDoesNotAnswer(t *testing.T) {
	key := mint(t, "production")
	silent := apiServer(t, func(*http.Request) bool { return true })
	for verb, args := range map[string][]string{
		"list": {"list"}, "audit": {"audit"}, "describe": {"describe", "web"}, "rotate": {"rotate", "web"}, "rotate --wait": {"rotate", "web", "--wait"},
		"a dry run": {"rotate", "web", "--dry-run"}, "all": {"rotate", "--all"}, "compromise": {"compromise", "web", "--yes"}, "compromise -": {"compromise", "-", "--yes"},
		"revoke": {"revoke", "web", "--yes"}, "disable": {"disable", "web"}, "enable": {"enable", "web"}, "verify": {"verify"},
	} {
		_, said, code := call(t, key, append(args, "--request-timeout=100ms", "--server="+silent)...)
		noInnards(t, verb, said, "error: no answer in time from "+silent, "--request-timeout")
		if code != ExitFailed || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d, %s", verb, code, said)
		}
	}
	for verb, args := range map[string][]string{"identify": {"identify"}, "scan": {"scan", "-"}} {
		_, said, _ := call(t, key, append(args, "--request-timeout=100ms", "--server="+silent)...)
		noInnards(t, verb, said, "note: no cluster was asked", "no answer in time from "+silent)
	}
	// Only the patch is not answered.
	_, said, code := call(t, "", "rotate", "web", "--request-timeout=100ms", "--server="+apiServer(t, func(r *http.Request) bool { return r.Method == http.MethodPatch }))
	noInnards(t, "a patch", said, "error: web: no answer in time from ")
	if code != ExitFailed {
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
	noInnards(t, "a busy server", said, "error: the API server did not complete the request in time")
}

// TestList_ReportsWhatIsNotYetObserved in every form for people, and in comma-separated values.
func TestList_ReportsWhatIsNotYetObserved(t *testing.T) {
	for observed, want := range map[int64]bool{-1: true, 1: true, 2: false, 3: false} {
		key := healthy("web")
		key.Generation, key.Status.ObservedGeneration = 2, observed
		for _, output := range []string{"table", "wide", "csv"} {
			var list strings.Builder
			if err := printKeys(&list, output, []v1alpha1.DGbotAPIKey{*key}, now); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(list.String(), "Ready (generation 2 not yet observed)"); got != want {
				t.Errorf("%s, observed %d: %s", output, observed, list.String())
			}
		}
	}
}

// TestAudit_ReportsWhatIsNotYetObserved in every form for people, in comma-separated values, on the page and for programs.
func TestAudit_ReportsWhatIsNotYetObserved(t *testing.T) {
	for observed, want := range map[int64]bool{-1: true, 1: true, 2: false, 3: false} {
		key := healthy("web")
		key.Generation, key.Status.ObservedGeneration = 2, observed
		all := auditOf([]v1alpha1.DGbotAPIKey{*key}, quarter, now)
		texts := map[string]*strings.Builder{"page": {}}
		if err := renderPage(texts["page"], all, "support", quarter, now); err != nil {
			t.Fatal(err)
		}
		for _, output := range []string{"table", "wide", "csv"} {
			texts[output] = &strings.Builder{}
			if err := printTable(texts[output], output, auditColumns, all, now); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range texts {
			if got := strings.Contains(text.String(), "Ready (generation 2 not yet observed)"); got != want {
				t.Errorf("%s, observed %d: %s", name, observed, text)
			}
		}
		if all[0].Observed == want {
			t.Errorf("observed %d: the report has %t", observed, all[0].Observed)
		}
	}
}

// TestTimeSpan_TakesDays beside what Go takes.
func TestTimeSpan_TakesDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * oneDay, "1d12h": 36 * time.Hour, "1d0.5h": 24*time.Hour + 30*time.Minute, "90m": 90 * time.Minute, "2160h": 90 * oneDay, "0d": 0, "-1d": -oneDay, "-1d12h": -36 * time.Hour,
	} {
		if got, err := parseTimeSpan(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "30", "1.5d", "1d-1h", "1d+1h", "1h1d", "1d2d", "30 d", "106752d", "106751d24h", "99999999999999999999d", "1w", "1d1"} {
		if got, err := parseTimeSpan(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
	for d, want := range map[time.Duration]string{90 * oneDay: "90d", time.Minute: "1m0s", 36 * time.Hour: "36h0m0s", 0: "0s"} {
		if span := timeSpan(d); span.String() != want {
			t.Errorf("%s is shown as %s", d, span.String())
		}
	}
}

// TestFlags_TakeDays where a verb has a duration, and reject durations that it cannot mean.
func TestFlags_TakeDays(t *testing.T) {
	server := apiServer(t, never)
	if out, said, code := call(t, "", "audit", "--unused-after=30d", "-o", "csv", "--server="+server); code != 0 {
		t.Errorf("exit code %d, %s%s", code, out, said)
	}
	for _, args := range [][]string{{"audit", "--unused-after=-1d"}, {"audit", "--unused-after=soon"}, {"rotate", "web", "--wait", "--timeout=0d"}} {
		if _, said, code := call(t, "", append(args, "--server="+server)...); code != ExitUsage {
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
	if _, _, code := call(t, "", "version", "now"); code != ExitUsage {
		t.Errorf("exit code %d", code)
	}
}
