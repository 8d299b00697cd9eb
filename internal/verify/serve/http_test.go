// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// bench is a verifier that knows one key.
type bench struct {
	*Server
	keys                         *index.Keys
	chatbots                     *index.Chatbots
	clock                        *verifytest.Clock
	freshness, identityFreshness *heard
	key                          string
}

// heard is a Freshness with a last sign of life that a test sets; zero for never. It is ready for 90 seconds and answers for two
// minutes. The Freshness of package feed has tests there, and in verify with a Server.
type heard struct {
	clock *verifytest.Clock
	at    time.Time
	// isIncomplete is set if there was no room for some records.
	isIncomplete bool
}

func (h *heard) hear()                          { h.at = h.clock.Now() }
func (h *heard) Answers(now time.Time) bool     { return !h.at.IsZero() && now.Sub(h.at) <= maxStaleness }
func (h *heard) Ready(now time.Time) bool       { return !h.at.IsZero() && now.Sub(h.at) <= maxReadyAge }
func (h *heard) Complete() bool                 { return !h.isIncomplete }
func (h *heard) Condition(now time.Time) string { return fmt.Sprintf("ready: %t", h.Ready(now)) }

const (
	maxStaleness = 2 * time.Minute
	maxReadyAge  = 90 * time.Second
)

func newBench(t testing.TB, change ...func(*v1alpha1.DGbotAPIKeyRecord)) *bench {
	t.Helper()
	b := &bench{clock: verifytest.NewClock()}
	b.freshness, b.identityFreshness = &heard{clock: b.clock}, &heard{clock: b.clock}
	b.keys, b.chatbots = &index.Keys{}, index.NewChatbots(nil, nil)
	registry := prometheus.NewRegistry()
	b.Server = New(Options{}, Data{}, nil, registry, registry, logr.Discard())
	b.use()
	b.now = b.clock.Now
	key := verifytest.Mint(t)
	b.key = key.Reveal()
	if err := b.keys.Put(verifytest.Record(key, change...), 0, 1); err != nil {
		t.Fatal(err)
	}
	b.freshness.hear()
	return b
}

// use makes the server answer from the keys of the bench, beside other sources.
func (b *bench) use(others ...Source) {
	b.Use(Data{
		Sources: append([]Source{{Name: "home", Keys: b.keys, Freshness: b.freshness}}, others...), HasSeveral: len(others) > 0,
		Chatbots: b.chatbots, ChatbotFreshness: b.identityFreshness,
	})
}

// request is a request for both /v1/verify and /check.
type request struct {
	header http.Header
	scopes []string
}

// do sends a request to one of the two, and returns the answer.
func (b *bench) do(path string, r request) *httptest.ResponseRecorder {
	var body io.Reader
	asked := httptest.NewRequest(http.MethodPost, path, nil)
	if path == "/v1/verify" && r.scopes != nil {
		text, _ := json.Marshal(map[string]any{"scopes": r.scopes})
		body = strings.NewReader(string(text))
		asked = httptest.NewRequest(http.MethodPost, path, body)
	}
	asked.Header = r.header.Clone()
	if asked.Header == nil {
		asked.Header = http.Header{}
	}
	if path != "/v1/verify" && r.scopes != nil {
		asked.Header.Set(requiredHeader, strings.Join(r.scopes, ","))
	}
	answer := httptest.NewRecorder()
	b.Handler().ServeHTTP(answer, asked)
	return answer
}

func bearerOf(text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }

// cases are requests for every protocol.
var cases = map[string]struct {
	record  func(*v1alpha1.DGbotAPIKeyRecord)
	request func(key string) request
	unready bool
	want    int
}{
	"a good key":             {want: 200, request: func(k string) request { return request{header: bearerOf(k)} }},
	"in X-API-Key":           {want: 200, request: func(k string) request { return request{header: http.Header{"X-Api-Key": {k}}} }},
	"with a scope it has":    {want: 200, request: func(k string) request { return request{bearerOf(k), []string{"a.b", "c.d"}} }},
	"with one it has not":    {want: 403, request: func(k string) request { return request{bearerOf(k), []string{"a.b", "x", "y"}} }},
	"with a pattern":         {want: 400, request: func(k string) request { return request{bearerOf(k), []string{"c.*"}} }},
	"no key":                 {want: 401, request: func(string) request { return request{} }},
	"junk":                   {want: 401, request: func(string) request { return request{header: bearerOf("junk")} }},
	"no key and a bad scope": {want: 401, request: func(string) request { return request{scopes: []string{"c.*"}} }},
	"an unknown key": {want: 401, request: func(string) request {
		other, _ := apikey.Mint("staging")
		return request{header: bearerOf(other.Reveal())}
	}},
	"a wrong checksum": {want: 401, request: func(k string) request { return request{header: bearerOf(k[:len(k)-1] + "_")} }},
	"two keys": {want: 401, request: func(k string) request {
		return request{header: http.Header{"Authorization": {"Bearer " + k}, "X-Api-Key": {k + "x"}}}
	}},
	"a revoked key": {want: 401, request: func(k string) request { return request{header: bearerOf(k)} },
		record: func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateRevoked }},
	"a disabled key": {want: 401, request: func(k string) request { return request{header: bearerOf(k)} },
		record: func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateDisabled }},
	"an expired key": {want: 401, request: func(k string) request { return request{header: bearerOf(k)} },
		record: func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &metav1.Time{Time: verifytest.Epoch} }},
	"an orphaned record": {want: 401, request: func(k string) request { return request{header: bearerOf(k)} },
		record: func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil }},
	"a good key of long ago": {want: 503, unready: true, request: func(k string) request { return request{header: bearerOf(k)} }},
	"no key of long ago":     {want: 503, unready: true, request: func(string) request { return request{} }},
	"a key twice":            {want: 200, request: func(k string) request { return request{header: http.Header{"X-Api-Key": {k, k}}} }},
	"a key in both headers": {want: 200, request: func(k string) request {
		return request{header: http.Header{"Authorization": {"bearer " + k}, "X-Api-Key": {k}}}
	}},
	"two keys in one header": {want: 401, request: func(k string) request {
		return request{header: http.Header{"X-Api-Key": {k, k[:len(k)-1] + "_"}}}
	}},
	"beside another scheme": {want: 200, request: func(k string) request {
		return request{header: http.Header{"Authorization": {"Basic Zm9vOmJhcg=="}, "X-Api-Key": {k}}}
	}},
	"another scheme alone": {want: 401, request: func(string) request { return request{header: http.Header{"Authorization": {"Basic Zm9vOmJhcg=="}}} }},
	"too long":             {want: 401, request: func(k string) request { return request{header: bearerOf(k + strings.Repeat("x", 128))} }},
}

func TestHandler_AnswersTheSameOnEveryPath(t *testing.T) {
	for name, tc := range cases {
		for _, path := range []string{"/v1/verify", "/check", "/check/any/path"} {
			t.Run(name+" "+path, func(t *testing.T) {
				b := newBench(t, tc.record)
				if tc.unready {
					b.clock.Pass(maxStaleness + 1)
				}
				answer := b.do(path, tc.request(b.key))
				if answer.Code != tc.want {
					t.Fatalf("%d, want %d: %s", answer.Code, tc.want, answer.Body)
				}
				if challenged := answer.Header().Get("WWW-Authenticate") == "Bearer"; challenged != (tc.want == 401) {
					t.Errorf("WWW-Authenticate: %q", answer.Header().Get("WWW-Authenticate"))
				}
				if path != "/v1/verify" && answer.Body.Len() != 0 {
					t.Errorf("a body: %s", answer.Body)
				}
				if text := answer.Body.String() + fmt.Sprint(answer.Header()); strings.Contains(text, b.key[len(b.key)-40:]) {
					t.Error("the key is in the answer")
				}
			})
		}
	}
}

func TestVerify_AnswersAllRejectionsAlike(t *testing.T) {
	seen := map[string]bool{}
	for _, tc := range cases {
		if tc.want != 401 {
			continue
		}
		b := newBench(t, tc.record)
		answer := b.do("/v1/verify", tc.request(b.key))
		seen[answer.Body.String()+fmt.Sprint(answer.Header())] = true
	}
	if len(seen) != 1 || !strings.HasPrefix(slices.Collect(maps.Keys(seen))[0], `{"valid":false}`+"\n") {
		t.Errorf("refusals differ: %v", seen)
	}
}

func TestVerify_AnswersBodies(t *testing.T) {
	end := metav1.Time{Time: verifytest.Epoch.Add(time.Hour)}
	b := newBench(t, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &end })
	id := strings.Split(b.key, "_")[2]
	for _, tc := range []struct {
		scopes []string
		want   string
	}{
		{nil, `{"valid":true,"uid":"owner","keyID":"` + id + `","environment":"staging","label":"CRM","scopes":["a.b","c.*"],"namespace":"support","name":"crm","revision":3,"notAfter":"2026-11-24T11:00:00Z"}`},
		{[]string{"x", "a.b", "y"}, `{"valid":false,"missingScopes":["x","y"]}`},
	} {
		if got := strings.TrimSpace(b.do("/v1/verify", request{bearerOf(b.key), tc.scopes}).Body.String()); got != tc.want {
			t.Errorf("%s\nwant %s", got, tc.want)
		}
	}
	b = newBench(t, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Scopes = nil })
	if got := b.do("/v1/verify", request{header: bearerOf(b.key)}).Body.String(); !strings.Contains(got, `"scopes":[],`) || strings.Contains(got, "notAfter") {
		t.Errorf("without scopes and end: %s", got)
	}
}

// TestVerify_IsValidWithStatus200Only protects clients that read the flag and not the status.
func TestVerify_IsValidWithStatus200Only(t *testing.T) {
	check := func(name string, answer *httptest.ResponseRecorder) {
		t.Helper()
		var said struct {
			Valid *bool `json:"valid"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &said); err != nil || said.Valid == nil || *said.Valid != (answer.Code == http.StatusOK) {
			t.Errorf("%s: %d with %s", name, answer.Code, answer.Body)
		}
	}
	for name, tc := range cases {
		b := newBench(t, tc.record)
		if tc.unready {
			b.clock.Pass(maxStaleness + 1)
		}
		check(name, b.do("/v1/verify", tc.request(b.key)))
	}
	b := newBench(t)
	for _, body := range []string{"{", `{"scopes":["*"]}`, `{"valid":true}`} {
		asked := httptest.NewRequest(http.MethodPost, "/v1/verify", strings.NewReader(body))
		asked.Header = bearerOf(b.key)
		answer := httptest.NewRecorder()
		b.Handler().ServeHTTP(answer, asked)
		check(body, answer)
	}
	check("identity, stale", b.identify(tokenBody("junk")))
	identities := newIdentityBench(t, verifytest.Replica("cb_1", nil))
	check("identity, rejected", identities.identify(tokenBody("junk")))
	check("identity, not such a body", identities.identify(`{"valid":true}`))
}

func TestVerify_RejectsOtherBodies(t *testing.T) {
	b := newBench(t)
	for body, want := range map[string]int{
		"": 200, "\n": 200, "{}": 200, `{"scopes":null}`: 200, `{"scopes":[]}`: 200, `{"scopes":["a.b"]}`: 200,
		"null": 400, "[]": 400, `"a"`: 400, "{": 400, `{"scopes":"a"}`: 400, `{"scopes":[1]}`: 400, `{"scope":["a"]}`: 400, `{"scopes":["a.b"]}x`: 400,
		`{"scopes":[""]}`: 400, `{"scopes":[null]}`: 400, `{"sco\u0070es":["a.b"]}`: 200, `{"scopes":["a.b"],"x":{}}`: 400, `{"scopes":["*"]}`: 400, "\x00": 400,
		`{"scopes":["c.admin"],"scopes":[]}`: 400, `{"SCOPES":["a.b"]}`: 400, `{"scopes":["a.b"],}`: 400, `{"scopes":["a.b" "c.d"]}`: 400, `{"scopes":{}}`: 400, `{"scopes":[`: 400,
		`{"scopes":[` + strings.Repeat(`"a",`, 40) + `"a"]}`: 400, `{"scopes":["` + strings.Repeat("a", maxBody) + `"]}`: 400,
	} {
		asked := httptest.NewRequest(http.MethodPost, "/v1/verify", strings.NewReader(body))
		asked.Header = bearerOf(b.key)
		answer := httptest.NewRecorder()
		b.Handler().ServeHTTP(answer, asked)
		if answer.Code != want {
			t.Errorf("%.40q: %d, want %d: %s", body, answer.Code, want, answer.Body)
		}
	}
}

func TestCheck_SetsHeaders(t *testing.T) {
	b := newBench(t)
	header := bearerOf(b.key)
	for _, name := range []string{"X_Dgbot_Scopes", "X-Dgbot-Scopes", "X_Dgbot_Key_Uid", "X-Dgbot-Key-Uid"} {
		header[name] = []string{"*"}
	}
	got := b.do("/check", request{header: header}).Header()
	for name, want := range map[string][]string{
		"X-Dgbot-Key-Uid": {"owner"}, "X-Dgbot-Key-Id": {strings.Split(b.key, "_")[2]}, "X-Dgbot-Environment": {"staging"}, "X-Dgbot-Chatbot-Id": {""},
		"X-Dgbot-Scopes": {"a.b c.*"}, "X-Envoy-Auth-Headers-To-Remove": {"authorization,x-dgbot-chatbot-id,x_dgbot_key_uid,x_dgbot_scopes"}, "Cache-Control": {"no-store"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

func TestHandler_PathsAndMethods(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		method, path string
		want         int
		allow        string
	}{
		{"GET", "/", 404, ""}, {"GET", "/v1/verify/", 404, ""}, {"POST", "/v2/verify", 404, ""}, {"GET", "/checks", 404, ""},
		{"GET", "/v1/verify", 405, "POST"}, {"PUT", "/v1/verify", 405, "POST"}, {"POST", "/healthz", 405, "GET, HEAD"},
		{"GET", "/healthz", 200, ""}, {"HEAD", "/readyz", 200, ""}, {"PROPFIND", "/check", 401, ""}, {"GET", "/check//a/../b", 401, ""},
		{"POST", "/v1/verify?key=" + b.key, 401, ""}, {"GET", "/check?api_key=" + b.key, 401, ""},
	} {
		answer := httptest.NewRecorder()
		b.Handler().ServeHTTP(answer, httptest.NewRequest(tc.method, tc.path, nil))
		if answer.Code != tc.want || answer.Header().Get("Allow") != tc.allow {
			t.Errorf("%s %.20s: %d %q, want %d", tc.method, tc.path, answer.Code, answer.Header().Get("Allow"), tc.want)
		}
	}
}

func TestReadyz(t *testing.T) {
	b := newBench(t)
	ready := func() int {
		answer := httptest.NewRecorder()
		b.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return answer.Code
	}
	if ready() != 200 {
		t.Error("not ready")
	}
	b.clock.Pass(maxReadyAge + 1)
	if ready() != 503 || b.do("/check", request{header: bearerOf(b.key)}).Code != 200 {
		t.Error("after 90 s it is to be unready and to answer")
	}
	b.freshness.hear()
	if b.draining.Store(true); ready() != 503 || b.do("/check", request{header: bearerOf(b.key)}).Code != 200 {
		t.Error("at its end it is to be unready and to answer")
	}
}

func TestMetrics_CountAnswers(t *testing.T) {
	b := newBench(t)
	b.do("/check", request{header: bearerOf(b.key)})
	b.do("/v1/verify", request{header: bearerOf("junk")})
	b.do("/v1/verify", request{bearerOf(b.key), []string{"x"}})
	for a, want := range map[answer]float64{accepted: 1, rejectedKey: 1, missingScopes: 1, badRequest: 0, unready: 0} {
		if got := testutil.ToFloat64(b.metrics.answers[a]); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	if got := testutil.ToFloat64(b.metrics.rejected[index.Malformed]); got != 1 {
		t.Errorf("malformed: %v", got)
	}
}

// TestEveryTransport_AnswersTheChatbotOfAKey covers HTTP and ext_authz.
func TestEveryTransport_AnswersTheChatbotOfAKey(t *testing.T) {
	b := newBench(t)
	key := verifytest.Mint(t)
	record := verifytest.Record(key, verifytest.Created(0, "of-a-chatbot"), func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.ChatbotID = "cb_1" })
	if err := b.keys.Put(record, 0, 1); err != nil {
		t.Fatal(err)
	}
	ask := request{header: bearerOf(key.Reveal())}
	if got := b.do("/v1/verify", ask).Body.String(); !strings.Contains(got, `"environment":"staging","chatbotID":"cb_1","label"`) {
		t.Errorf("/v1/verify: %s", got)
	}
	if got := b.do("/check", ask).Header().Get(chatbotIDHeader); got != "cb_1" {
		t.Errorf("/check: %q", got)
	}
	response := b.check(t, checkRequest(ask, false))
	if got := response.GetDynamicMetadata().AsMap()["chatbotID"]; got != "cb_1" {
		t.Errorf("metadata: %v", got)
	}
	ok := response.GetOkResponse()
	if slices.Contains(ok.GetHeadersToRemove(), strings.ToLower(chatbotIDHeader)) || !slices.ContainsFunc(ok.GetHeaders(), func(o *core.HeaderValueOption) bool {
		return o.GetHeader().GetKey() == chatbotIDHeader && o.GetHeader().GetValue() == "cb_1"
	}) {
		t.Errorf("headers: %v, removed %v", ok.GetHeaders(), ok.GetHeadersToRemove())
	}
	// The chatbot of a key can change.
	record.Spec.ChatbotID = ""
	if err := b.keys.Put(record, 0, 1); err != nil {
		t.Fatal(err)
	}
	if got := b.do("/v1/verify", ask).Body.String(); strings.Contains(got, "chatbotID") {
		t.Errorf("without one: %s", got)
	}
}

func TestVerify_NotesUsesOfAcceptedKeysOnly(t *testing.T) {
	b := newBench(t)
	used := func() bool {
		key, _ := index.Read(b.key)
		e := b.keys.Find(&key)
		_, _, ok := e.Use().Due(time.Minute)
		return ok
	}
	b.do("/check", request{header: bearerOf(b.key[:len(b.key)-1] + "~")})
	b.do("/v1/verify", request{header: bearerOf(b.key), scopes: []string{"not.granted"}})
	b.do("/v1/verify", request{header: bearerOf(b.key), scopes: []string{"NO SCOPE"}})
	if used() {
		t.Error("a refusal counts as a use")
	}
	b.do("/check", request{header: bearerOf(b.key)})
	if !used() {
		t.Error("a successful verification does not count as a use")
	}
}
