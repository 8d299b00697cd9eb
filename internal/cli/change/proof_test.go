// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/registration"
)

// written is when withdrawals of these tests are written.
var written = metav1.NewMicroTime(clitest.Now.Add(time.Microsecond))

// propagation returns the status of a withdrawal that verifiers have not confirmed.
func propagation(verifiers int32, pending ...string) *v1alpha1.Propagation {
	return &v1alpha1.Propagation{Version: "48213", WrittenAt: written, Verifiers: verifiers, Pending: pending}
}

// confirmed returns the status of a withdrawal that verifiers confirmed after a time.
func confirmed(verifiers int32, after time.Duration) *v1alpha1.Propagation {
	p, at := propagation(verifiers), metav1.NewMicroTime(written.Add(after))
	p.ConfirmedAt = &at
	return p
}

func pendingFor(reason, message string) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.PropagationPendingCondition, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

// stage changes a key whose request is handled to what one poll finds.
type stage func(*v1alpha1.DGbotAPIKey)

func with(p *v1alpha1.Propagation, conditions ...metav1.Condition) stage {
	return func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Propagation = p
		k.Status.Conditions = append(k.Status.Conditions, conditions...)
	}
}

// withdrawingServer answers as an API server does that has the key web. before changes the key as it is before the request. The operator handles
// the request at once, and at each poll the key has the next stage; the last one stays.
func withdrawingServer(t *testing.T, before func(*v1alpha1.DGbotAPIKey), stages ...stage) string {
	t.Helper()
	key := clitest.Healthy("web")
	key.TypeMeta, key.UID, key.Generation, key.Status.ObservedGeneration = cluster.TypeMeta(v1alpha1.APIKeyKind), "web", 6, 6
	if before != nil {
		before(key)
	}
	var mutex sync.Mutex
	isPatched, polls := false, 0
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		answer.Header().Set("Content-Type", "application/json")
		switch request.URL.Path {
		case "/version":
			_, _ = answer.Write([]byte("{}"))
			return
		case "/apis/coordination.k8s.io/v1/namespaces/dgbot-system/leases":
			statusOf(http.StatusForbidden, metav1.StatusReasonForbidden, "no right")(answer, request)
			return
		}
		if request.Method == http.MethodPatch {
			isPatched = true
			var patch struct {
				Metadata struct {
					Annotations map[string]string `json:"annotations"`
				} `json:"metadata"`
				Spec *struct {
					State v1alpha1.KeyState `json:"state"`
				} `json:"spec"`
			}
			if err := json.NewDecoder(request.Body).Decode(&patch); err != nil {
				t.Error(err)
			}
			handle(t, key, patch.Metadata.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation], patch.Spec != nil, func() v1alpha1.KeyState { return patch.Spec.State })
			_ = json.NewEncoder(answer).Encode(key)
			return
		}
		shown := key.DeepCopy()
		if isPatched {
			at := min(polls, len(stages)-1)
			polls++
			stages[at](shown)
			if p := shown.Status.Propagation; p != nil && p.Generation == 0 && p.RevokeIssuedBefore == nil {
				p = p.DeepCopy()
				p.Generation = key.Generation
				if done := key.Status.LastHandledRequest; done != nil {
					p.RevokeIssuedBefore = done.RevokeIssuedBefore
				}
				shown.Status.Propagation = p
			}
		}
		_ = json.NewEncoder(answer).Encode(shown)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// handle does to a key what the operator does for a request.
func handle(t *testing.T, key *v1alpha1.DGbotAPIKey, revokeBefore string, isTransition bool, state func() v1alpha1.KeyState) {
	t.Helper()
	if revokeBefore != "" {
		at, err := time.Parse(time.RFC3339, revokeBefore)
		if err != nil {
			t.Error(err)
		}
		key.Status.LastHandledRequest = &v1alpha1.HandledRequest{RevokeIssuedBefore: &metav1.Time{Time: at}}
		key.Status.Current = &v1alpha1.RevisionStatus{Revision: 4, KeyID: "7Hq2xV0aBcDA", IssuedAt: metav1.Time{Time: at.Add(time.Second)}}
	}
	if isTransition {
		key.Generation++
		key.Spec.State, key.Status.ObservedGeneration = state(), key.Generation
		key.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: string(key.Spec.State), Message: "by spec.state", ObservedGeneration: key.Generation,
		}}
	}
}

var withdrawals = map[string][]string{
	"compromise": {"compromise", "web", "--yes"}, "revoke": {"revoke", "web", "--yes"}, "disable": {"disable", "web"},
}

func withdraw(t *testing.T, args []string, server string, more ...string) (out, errOut string, code int) {
	t.Helper()
	return call(t, slices.Concat(args, []string{"--wait", "-n", "support", "--server=" + server}, more)...)
}

// TestWait_WaitsForTheProof and names the verifiers that may still accept what was withdrawn.
func TestWait_WaitsForTheProof(t *testing.T) {
	bound := propagation(3, "dgbot-verifier-c-0001")
	at := metav1.NewMicroTime(clitest.Now.Add(33 * time.Second))
	bound.BoundAt = &at
	for verb, args := range withdrawals {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			server := withdrawingServer(t, nil, with(propagation(3, "dgbot-verifier-b-0001", "dgbot-verifier-c-0001"), pendingFor(v1alpha1.VerifiersBehindReason, "two are behind")),
				with(bound, pendingFor(v1alpha1.VerifiersBehindReason, "one is silent")), with(confirmed(3, 41*time.Millisecond+700*time.Microsecond)))
			out, errOut, code := withdraw(t, args, server)
			if code != 0 || !strings.HasSuffix(out, " rejected by all 3 registered verifiers, 41 ms after it was written\n") {
				t.Errorf("exit code %d: %s", code, out)
			}
			for _, want := range []string{
				"web: 2 of 3 registered verifiers may still accept it: dgbot-verifier-b-0001, dgbot-verifier-c-0001\n",
				"web: 1 of 3 registered verifiers may still accept it: dgbot-verifier-c-0001; if they stay silent, they count as gone at 2026-11-27T10:00:33Z\n",
			} {
				if strings.Count(errOut, want) != 1 {
					t.Errorf("want once %q: %s", want, errOut)
				}
			}
		})
	}
}

// TestWait_SaysWhatIsProven for other numbers of verifiers, longer times, and keys without a valid revision.
func TestWait_SaysWhatIsProven(t *testing.T) {
	disabled := func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.State = v1alpha1.StateDisabled
		k.Status.Conditions = []metav1.Condition{{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.DisabledReason, ObservedGeneration: 6}}
	}
	earlier := confirmed(2, 5*time.Millisecond)
	earlier.Generation = 6
	disabledWithProof := func(k *v1alpha1.DGbotAPIKey) { disabled(k); k.Status.Propagation = earlier }
	for name, tc := range map[string]struct {
		before func(*v1alpha1.DGbotAPIKey)
		stages []stage
		want   string
	}{
		"one verifier":         {nil, []stage{with(confirmed(1, 0))}, "rejected by the only registered verifier, 0 ms after it was written"},
		"a clock that jumped":  {nil, []stage{with(confirmed(2, -time.Hour))}, "by all 2 registered verifiers, 0 ms after it was written"},
		"after half a minute":  {nil, []stage{with(confirmed(2, 32104*time.Millisecond))}, "by all 2 registered verifiers, 32.1s after it was written"},
		"verifiers that start": {nil, []stage{with(propagation(0)), with(propagation(1, "a")), with(confirmed(1, time.Second))}, "by the only registered verifier, 1000 ms after it was written"},
		"disabled before":      {disabled, []stage{with(nil)}, "web: no revision was valid any more, so there is nothing to prove"},
		"never issued": {func(k *v1alpha1.DGbotAPIKey) { k.Status.Current, k.Status.Conditions = nil, nil }, []stage{with(nil)},
			"web: no revision was valid any more, so there is nothing to prove"},
		"disabled and proven before": {disabledWithProof, []stage{with(earlier)}, "web: no revision was valid any more; the withdrawal before was rejected by all 2 registered verifiers, 5 ms after"},
		"disabled before, the proof is pending": {func(k *v1alpha1.DGbotAPIKey) { disabled(k); k.Status.Propagation = propagation(1, "a") }, []stage{with(propagation(1, "a")), with(confirmed(1, 0))},
			"rejected by the only registered verifier"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, errOut, code := withdraw(t, withdrawals["revoke"], withdrawingServer(t, tc.before, tc.stages...))
			if code != 0 || !strings.Contains(out, tc.want) {
				t.Errorf("exit code %d, %s%s", code, out, errOut)
			}
		})
	}
}

// TestWait_ProvesNothing where no verifier is registered, or where the operator does not report the withdrawal.
func TestWait_ProvesNothing(t *testing.T) {
	earlier := confirmed(2, 5*time.Millisecond)
	earlier.Generation, earlier.Version = 3, "17"
	for name, tc := range map[string]struct {
		before func(*v1alpha1.DGbotAPIKey)
		stage  stage
		want   string
	}{
		"no verifiers":                {nil, with(propagation(0)), "nothing is proven: no verifier is registered"},
		"unknown verifiers":           {nil, with(propagation(0), pendingFor(v1alpha1.VerifiersUnknownReason, "leases is forbidden")), "nothing is proven: VerifiersUnknown: leases is forbidden"},
		"an operator that proves not": {nil, with(nil), "nothing is proven: the operator handled the request, and status.propagation does not have it"},
		"an earlier proof":            {func(k *v1alpha1.DGbotAPIKey) { k.Status.Propagation = earlier }, with(earlier), "status.propagation does not have it"},
	} {
		for _, verb := range []string{"compromise", "disable"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				t.Parallel()
				out, errOut, code := withdraw(t, withdrawals[verb], withdrawingServer(t, tc.before, tc.stage))
				if code != exit.CodeNo || !strings.Contains(errOut, tc.want) || strings.Contains(out, "rejected by") {
					t.Errorf("exit code %d, %s%s", code, out, errOut)
				}
			})
		}
	}
}

// TestWait_NamesWhatIsPendingAtTheDeadline, and ends with 1: the proof may still come.
func TestWait_NamesWhatIsPendingAtTheDeadline(t *testing.T) {
	for verb, args := range withdrawals {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			server := withdrawingServer(t, nil, with(propagation(9, "a", "b", "c", "d", "e", "f", "g", "h"), pendingFor(v1alpha1.VerifierServesStaleReason, "a serves")))
			_, errOut, code := withdraw(t, args, server, "--timeout=700ms")
			clitest.NoInnards(t, verb, errOut, "error: web: not proven in time: after 700ms, at least 8 of 9 registered verifiers may still accept it: a, b, c, d, e, f, g, h; ",
				"web: VerifierServesStale: a serves\n", "kubectl dgbot describe web -n support")
			if code != exit.CodeFailed {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestWait_ReadsTheLeasesOncePerPoll of several keys, and leaves out the verifiers that have followed since the status was written.
func TestWait_ReadsTheLeasesOncePerPoll(t *testing.T) {
	var lists, polls atomic.Int32
	lease := func(name, observed string) coordinationv1.Lease {
		l := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: time.Now()}}}
		r := registration.Registration{Observed: map[registration.Watch]string{{}: observed}, MaxStaleness: time.Minute}
		r.Annotate(&l, time.Now())
		return l
	}
	keyOf := func(name string) v1alpha1.DGbotAPIKey {
		key := clitest.Healthy(name)
		key.TypeMeta, key.UID, key.Generation, key.Status.ObservedGeneration = cluster.TypeMeta(v1alpha1.APIKeyKind), types.UID(name), 7, 7
		if polls.Load() > 0 {
			handle(t, key, "", true, func() v1alpha1.KeyState { return v1alpha1.StateDisabled })
			key.Generation, key.Status.ObservedGeneration = 7, 7
			key.Status.Conditions[0].ObservedGeneration = 7
			key.Status.Propagation = propagation(2, "a", "b")
			key.Status.Propagation.Generation = 7
		}
		return *key
	}
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		var object any
		switch _, name, isKey := strings.Cut(request.URL.Path, "/dgbotapikeys/"); {
		case request.URL.Path == "/version":
			object = map[string]string{}
		case strings.HasSuffix(request.URL.Path, "/namespaces/keys/leases"):
			lists.Add(1)
			object = coordinationv1.LeaseList{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "LeaseList"}, Items: []coordinationv1.Lease{lease("a", "48212"), lease("b", "48213")}}
		case isKey:
			object = keyOf(name)
		default:
			polls.Add(1)
			object = v1alpha1.DGbotAPIKeyList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyKind + "List"), Items: []v1alpha1.DGbotAPIKey{keyOf("web"), keyOf("crm")}}
		}
		_ = json.NewEncoder(answer).Encode(object)
	}))
	t.Cleanup(server.Close)
	_, errOut, code := withdraw(t, []string{"disable", "web", "crm"}, server.URL, "--timeout=1200ms", "--usage-namespace=keys")
	if code != exit.CodeFailed || strings.Count(errOut, ": 1 of 2 registered verifiers may still accept it: a\n") != 2 {
		t.Errorf("exit code %d, %s", code, errOut)
	}
	if lists.Load() != polls.Load() {
		t.Errorf("%d lists of Leases in %d polls", lists.Load(), polls.Load())
	}
}

// TestWait_EndsWhereAnotherUserChangesTheState: the request will not be handled.
func TestWait_EndsWhereAnotherUserChangesTheState(t *testing.T) {
	enabled := func(k *v1alpha1.DGbotAPIKey) { k.Spec.State, k.Status.Conditions = v1alpha1.StateActive, nil }
	_, errOut, code := withdraw(t, withdrawals["disable"], withdrawingServer(t, nil, enabled))
	if code != exit.CodeNo || !strings.Contains(errOut, `spec.state has been set to "Active" meanwhile`) {
		t.Errorf("exit code %d, %s", code, errOut)
	}
}

// TestWait_HasResultsForPrograms with the lines for people on standard error.
func TestWait_HasResultsForPrograms(t *testing.T) {
	for verb, args := range withdrawals {
		for name, tc := range map[string]struct {
			stage  stage
			result string
			code   int
		}{
			"proven":  {with(confirmed(3, 41*time.Millisecond)), proven, 0},
			"pending": {with(propagation(1, "a")), notProven, exit.CodeFailed},
		} {
			t.Run(verb+" "+name, func(t *testing.T) {
				t.Parallel()
				out, errOut, code := withdraw(t, args, withdrawingServer(t, nil, tc.stage), "-o", "json", "--timeout=700ms")
				var results []result
				if err := json.Unmarshal([]byte(out), &results); err != nil || len(results) != 1 {
					t.Fatalf("%v: %s", err, out)
				}
				got := results[0]
				if got.Name != "web" || got.Namespace != "support" || got.Result != tc.result || got.Propagation == nil || got.Propagation.Version != "48213" || got.Message == "" || code != tc.code {
					t.Errorf("exit code %d, %+v", code, got)
				}
				if isNew := got.Revision == 4 && got.KeyID == "7Hq2xV0aBcDA"; isNew != (verb == "compromise") {
					t.Errorf("%+v", got)
				}
				if !strings.Contains(errOut, "dgbotapikey.keys.dgbot.io/web") {
					t.Errorf("no lines: %s", errOut)
				}
			})
		}
		for _, wrong := range [][]string{{"-o", "json"}, {"--wait", "-o", "table"}, {"--wait", "--timeout=0s"}} {
			if _, errOut, code := call(t, slices.Concat(args, wrong, []string{"-n", "support"})...); code != exit.CodeUsage {
				t.Errorf("%s %v: exit code %d, %s", verb, wrong, code, errOut)
			}
		}
	}
}
