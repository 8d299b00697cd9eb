// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/exit"
)

// statusOf answers as an API server does that fails.
func statusOf(code int32, reason metav1.StatusReason, message string) http.HandlerFunc {
	return func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		answer.WriteHeader(int(code))
		_ = json.NewEncoder(answer).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Code: code, Message: message,
		})
	}
}

// hangUp closes the connection without an answer, as a server does that ends.
func hangUp(answer http.ResponseWriter, _ *http.Request) {
	connection, _, err := http.NewResponseController(answer).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

// postponed answers 429 with Retry-After.
func postponed(answer http.ResponseWriter, request *http.Request) {
	answer.Header().Set("Retry-After", "1")
	statusOf(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "the server is busy")(answer, request)
}

// wrongSyntax answers 200 with something else than an object, as a proxy does.
func wrongSyntax(answer http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(answer, "<html>one moment</html>")
}

// operatedServer answers as an API server does that has the keys web and crm, whose operator handles requests at once. As many polls
// as times are answered by failing.
func operatedServer(t *testing.T, failing http.HandlerFunc, times int64) string {
	t.Helper()
	var requestedAt atomic.Pointer[metav1.Time]
	var polls atomic.Int64
	keyOf := func(name string) v1alpha1.DGbotAPIKey {
		key := clitest.Healthy(name)
		key.TypeMeta, key.UID, key.Generation, key.Status.ObservedGeneration = cluster.TypeMeta(v1alpha1.APIKeyKind), types.UID(name), 1, 1
		if at := requestedAt.Load(); at != nil {
			key.Status.Current = &v1alpha1.RevisionStatus{Revision: 4, KeyID: "7Hq2xV0aBcDA", IssuedAt: *at}
			key.Status.LastHandledRequest = &v1alpha1.HandledRequest{RotateRequestedAt: at, RevokeIssuedBefore: at}
			key.Status.Propagation = confirmed(1, 0)
			key.Status.Propagation.RevokeIssuedBefore = at
		}
		return *key
	}
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPatch {
			requestedAt.Store(&metav1.Time{Time: time.Now().Add(time.Minute)})
		} else if requestedAt.Load() != nil && polls.Add(1) <= times {
			failing(answer, request)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		var object any
		switch _, name, isKey := strings.Cut(request.URL.Path, "/dgbotapikeys/"); {
		case request.URL.Path == "/version":
			object = map[string]string{}
		case isKey:
			object = keyOf(name)
		default:
			object = v1alpha1.DGbotAPIKeyList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyKind + "List"), Items: []v1alpha1.DGbotAPIKey{keyOf("web"), keyOf("crm")}}
		}
		_ = json.NewEncoder(answer).Encode(object)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// transientAnswers are those that the next poll may not get.
var transientAnswers = map[string]struct {
	answer http.HandlerFunc
	note   string
}{
	"no answer":             {hangUp, "EOF"},
	"something else":        {wrongSyntax, ""},
	"overloaded":            {statusOf(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "the server is busy"), "the server is busy"},
	"overloaded, postponed": {postponed, "the server is busy"},
	"an internal error":     {statusOf(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: no leader"), "etcdserver: no leader"},
	"a proxy's error":       {func(answer http.ResponseWriter, _ *http.Request) { answer.WriteHeader(http.StatusBadGateway) }, ""},
	"not available":         {statusOf(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "shutting down"), "shutting down"},
	"a timeout":             {statusOf(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "context deadline exceeded"), "did not complete the request in time"},
	"an expired list":       {statusOf(http.StatusGone, metav1.StatusReasonExpired, "the continue token is too old"), "the continue token is too old"},
}

// TestWait_GoesOnAfterAFailedPoll of one key, which is read, and of several, which are listed.
func TestWait_GoesOnAfterAFailedPoll(t *testing.T) {
	for name, tc := range transientAnswers {
		for args, keys := range map[string]int{"rotate web": 1, "rotate web crm": 2, "compromise web --yes": 1, "compromise --all --yes": 2} {
			t.Run(name+" "+args, func(t *testing.T) {
				t.Parallel()
				out, errOut, code := call(t, append(strings.Fields(args), "--wait", "--timeout=1m", "-n", "support", "--server="+operatedServer(t, tc.answer, 2))...)
				if code != 0 || strings.Count(out, "has revision 4, key ID 7Hq2xV0aBcDA") != keys {
					t.Errorf("exit code %d, %s%s", code, out, errOut)
				}
				if strings.Count(errOut, "note: ") != 1 || !strings.Contains(errOut, tc.note) {
					t.Errorf("want one note with %q: %s", tc.note, errOut)
				}
			})
		}
	}
}

// TestWait_NamesTheLastErrorAtTheDeadline and ends with 3: the request may still be handled.
func TestWait_NamesTheLastErrorAtTheDeadline(t *testing.T) {
	for name, tc := range transientAnswers {
		for _, timeout := range []string{"400ms", "1200ms"} {
			t.Run(name+" "+timeout, func(t *testing.T) {
				t.Parallel()
				_, errOut, code := call(t, "rotate", "web", "--wait", "--timeout="+timeout, "-n", "support", "--server="+operatedServer(t, tc.answer, 1<<30))
				clitest.NoInnards(t, name, errOut, "error: web: not done in time: rotation requested at 20", "the last read failed: ", tc.note, "kubectl dgbot describe web -n support")
				if code != exit.CodeNo {
					t.Errorf("exit code %d", code)
				}
			})
		}
	}
}

// TestWait_EndsAtOnceWhereNoPollCanSucceed until a person changes something.
func TestWait_EndsAtOnceWhereNoPollCanSucceed(t *testing.T) {
	for _, tc := range []struct {
		code   int32
		reason metav1.StatusReason
		want   string
	}{
		{http.StatusForbidden, metav1.StatusReasonForbidden, "no right"},
		{http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "no right"},
		{http.StatusNotFound, metav1.StatusReasonNotFound, "deleted"},
		{http.StatusBadRequest, metav1.StatusReasonBadRequest, "no right"},
	} {
		t.Run(string(tc.reason), func(t *testing.T) {
			t.Parallel()
			_, errOut, code := call(t, "rotate", "web", "--wait", "--timeout=1h", "-n", "support", "--server="+operatedServer(t, statusOf(tc.code, tc.reason, "no right"), 1<<30))
			if code != exit.CodeFailed || !strings.Contains(errOut, tc.want) {
				t.Errorf("exit code %d, %s", code, errOut)
			}
		})
	}
}

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
			_, errOut, code := call(t, append(args(verb), "--timeout="+timeout, "--server="+clitest.APIServer(t, clitest.Never))...)
			want := []string{"error: web: not done in time: ", " requested at 20", "kubectl dgbot describe web -n support"}
			if timeout != "1ms" {
				want = append(want, "WaitingForChatbot: DGbotChatbot bot has no chatbot ID yet")
			}
			clitest.NoInnards(t, verb+" "+timeout, errOut, want...)
			if code != exit.CodeNo {
				t.Errorf("%s %s: exit code %d", verb, timeout, code)
			}
		}
		patched := false
		silent := clitest.APIServer(t, func(request *http.Request) bool {
			waits := patched && request.Method == http.MethodGet
			patched = patched || request.Method == http.MethodPatch
			return waits
		})
		_, errOut, code := call(t, append(args(verb), "--timeout=300ms", "--server="+silent)...)
		clitest.NoInnards(t, verb+" of a server that stops answering", errOut, "error: web: not done in time: ", "the API server did not answer")
		if code != exit.CodeNo {
			t.Errorf("exit code %d", code)
		}
	}
}
