// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-logr/logr/funcr"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"dgbot.io/key-operator/internal/verify/index"
)

// checkRequest returns the request that Envoy sends for a request, with the headers in one of their two forms.
func checkRequest(r request, oneByOne bool) *auth.CheckRequest {
	asked := &auth.AttributeContext_HttpRequest{Method: http.MethodGet, Path: "/?key=junk"}
	for name, values := range r.header {
		name = strings.ToLower(name)
		if !oneByOne {
			if asked.Headers == nil {
				asked.Headers = map[string]string{}
			}
			asked.Headers[name] = strings.Join(values, ",")
			continue
		}
		for _, value := range values {
			if asked.HeaderMap == nil {
				asked.HeaderMap = &core.HeaderMap{}
			}
			asked.HeaderMap.Headers = append(asked.HeaderMap.Headers, &core.HeaderValue{Key: name, RawValue: []byte(value)})
		}
	}
	check := &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: asked}}}
	if r.scopes != nil {
		check.Attributes.ContextExtensions = map[string]string{requiredExtension: strings.Join(r.scopes, " ")}
	}
	return check
}

func (b *bench) check(t *testing.T, check *auth.CheckRequest) *auth.CheckResponse {
	t.Helper()
	response, err := extAuthz{verifier: b.Server}.Check(t.Context(), check)
	if err != nil {
		t.Fatalf("an error is no answer: %v", err)
	}
	return received(t, response)
}

// received returns a response as Envoy decodes it.
func received(t testing.TB, response *auth.CheckResponse) *auth.CheckResponse {
	t.Helper()
	encoded, err := proto.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	decoded := &auth.CheckResponse{}
	if err := proto.Unmarshal(encoded, decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

// TestEncodeMetadata_IsWhatAStructIsEncodedAs, for texts of sizes that take one byte and more.
func TestEncodeMetadata_IsWhatAStructIsEncodedAs(t *testing.T) {
	long := strings.Repeat("ü", 200)
	for _, key := range []*index.Identity{
		{Scopes: []string{}},
		{UID: "u", KeyID: "k", Environment: "staging", ChatbotID: "cb_1", Label: long, Scopes: []string{"*", "a.b", long}, Namespace: long, Name: "n", Revision: 9_999_999_999},
		{Label: "Grüße 🔑\x00\n", Scopes: []string{strings.Repeat("s", 127), strings.Repeat("s", 128)}, Name: strings.Repeat("n", 253)},
	} {
		for _, cluster := range []string{"", "eu"} {
			want := map[string]any{
				"uid": key.UID, "keyID": key.KeyID, "environment": key.Environment, "chatbotID": key.ChatbotID, "label": key.Label, "namespace": key.Namespace,
				"name": key.Name, "revision": float64(key.Revision), "scopes": []any{},
			}
			for _, scope := range key.Scopes {
				want["scopes"] = append(want["scopes"].([]any), scope)
			}
			if cluster != "" {
				want["cluster"] = cluster
			}
			response := &auth.CheckResponse{}
			response.ProtoReflect().SetUnknown(encodeMetadata(key, cluster))
			decoded := received(t, response)
			if got := decoded.GetDynamicMetadata().AsMap(); !reflect.DeepEqual(got, want) || len(decoded.ProtoReflect().GetUnknown()) > 0 {
				t.Errorf("%v\nwant %v", got, want)
			}
		}
	}
}

// BenchmarkCheck_Accepts measures an answer that accepts a key, without a network.
func BenchmarkCheck_Accepts(b *testing.B) {
	bench := newBench(b)
	question := checkRequest(request{header: bearerOf(bench.key)}, false)
	b.ReportAllocs()
	for b.Loop() {
		response, err := extAuthz{verifier: bench.Server}.Check(b.Context(), question)
		if err != nil || response.GetOkResponse() == nil {
			b.Fatal("the key is rejected")
		}
		if _, err := proto.Marshal(response); err != nil {
			b.Fatal(err)
		}
	}
}

func TestExtAuthz_AnswersAsHTTP(t *testing.T) {
	for name, tc := range cases {
		for form, oneByOne := range map[string]bool{"headers": false, "header_map": true} {
			t.Run(name+" in "+form, func(t *testing.T) {
				b := newBench(t, tc.record)
				if tc.unready {
					b.clock.Pass(maxStaleness + 1)
				}
				response := b.check(t, checkRequest(tc.request(b.key), oneByOne))
				denied := response.GetDeniedResponse()
				got := int(denied.GetStatus().GetCode())
				if response.GetOkResponse() != nil {
					got = http.StatusOK
				}
				if got != tc.want || (response.GetStatus().GetCode() == 0) != (tc.want == 200) {
					t.Fatalf("%d with code %d, want %d", got, response.GetStatus().GetCode(), tc.want)
				}
				challenged := len(denied.GetHeaders()) == 1 && denied.GetHeaders()[0].GetHeader().GetKey() == "WWW-Authenticate" &&
					denied.GetHeaders()[0].GetHeader().GetValue() == "Bearer"
				if challenged != (tc.want == 401) || denied.GetBody() != "" {
					t.Errorf("denied with %v", denied)
				}
				if text, _ := protojson.Marshal(response); bytes.Contains(text, []byte(b.key[len(b.key)-40:])) {
					t.Error("the key is in the answer")
				}
			})
		}
	}
}

// TestExtAuthz_SetsAndRemovesHeaders covers that no header of a client looks like one of the verifier. Envoy removes headers last.
func TestExtAuthz_SetsAndRemovesHeaders(t *testing.T) {
	b := newBench(t)
	header := http.Header{
		"Authorization": {"Basic Zm9v"}, "X-API-Key": {b.key}, "X-DGbot-Scopes": {"*"}, "X-DGbot-Chatbot-ID": {"cb_x"}, "X-DGbot-Role": {"admin"},
		"X-DGbot-Key-UID": {"another"}, "X_DGbot_Key_UID": {"another"}, "X_DGbot_Key_ID": {"y"}, "X-DGbot_Scopes": {"*"}, "X-Dgbo": {"z"}, "Accept": {"*/*"},
	}
	response := b.check(t, checkRequest(request{header: header}, false))
	ok := response.GetOkResponse()
	got := map[string]string{}
	for _, option := range ok.GetHeaders() {
		if option.GetAppendAction() != core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%s: %s", option.GetHeader().GetKey(), option.GetAppendAction())
		}
		got[option.GetHeader().GetKey()] = option.GetHeader().GetValue()
	}
	id := strings.Split(b.key, "_")[2]
	for name, want := range map[string]string{
		"X-DGbot-Key-UID": "owner", "X-DGbot-Key-ID": id, "X-DGbot-Environment": "staging", "X-DGbot-Chatbot-ID": "", "X-DGbot-Scopes": "a.b c.*",
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	removed := slices.Sorted(slices.Values(ok.GetHeadersToRemove()))
	if want := []string{"x-api-key", "x-dgbot-chatbot-id", "x-dgbot-role", "x-dgbot_scopes", "x_dgbot_key_id", "x_dgbot_key_uid"}; !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	want := map[string]any{
		"uid": "owner", "keyID": id, "environment": "staging", "chatbotID": "", "label": "CRM", "scopes": []any{"a.b", "c.*"},
		"namespace": "support", "name": "crm", "revision": 3.0,
	}
	if fields := response.GetDynamicMetadata().AsMap(); !reflect.DeepEqual(fields, want) {
		t.Errorf("metadata %v, want %v", fields, want)
	}
}

// TestExtAuthz_TakesRequiredScopesFromTheRouteOnly, because a client could require fewer.
func TestExtAuthz_TakesRequiredScopesFromTheRouteOnly(t *testing.T) {
	b := newBench(t)
	asked := checkRequest(request{bearerOf(b.key), []string{"x"}}, false)
	asked.Attributes.Request.Http.Headers[strings.ToLower(requiredHeader)] = "a.b"
	if got := b.check(t, asked).GetDeniedResponse().GetStatus().GetCode(); got != 403 {
		t.Errorf("%d, want 403", got)
	}
	asked = checkRequest(request{header: bearerOf(b.key)}, false)
	asked.Attributes.Request.Http.Headers[strings.ToLower(requiredHeader)] = "x"
	if b.check(t, asked).GetOkResponse() == nil {
		t.Error("a header asks for scopes")
	}
}

func TestExtAuthz_DeniesEmptyRequests(t *testing.T) {
	b := newBench(t)
	for name, check := range map[string]*auth.CheckRequest{
		"nil": nil, "empty": {}, "no request": {Attributes: &auth.AttributeContext{}},
		"no HTTP request": {Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{}}},
		"a header that is nil": {Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
			Http: &auth.AttributeContext_HttpRequest{HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{nil}}}}}},
	} {
		if got := b.check(t, check).GetDeniedResponse().GetStatus().GetCode(); got != 401 {
			t.Errorf("%s: %d, want 401", name, got)
		}
	}
}

// TestRecoverPanic_DeniesTheRequest also covers that the log does not quote the request.
func TestRecoverPanic_DeniesTheRequest(t *testing.T) {
	var logged strings.Builder
	log := funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{})
	answer, err := recoverPanic(log)(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { panic("quoted " + "request") })
	response, ok := answer.(*auth.CheckResponse)
	if err != nil || !ok || response.GetDeniedResponse().GetStatus().GetCode() != 503 {
		t.Errorf("%v, %v", answer, err)
	}
	if text := logged.String(); !strings.Contains(text, "ext_authz_test.go") || strings.Contains(text, "quoted request") {
		t.Errorf("the log says %s", text)
	}
}

// FuzzExtAuthz checks that all requests are answered and only the key is accepted.
func FuzzExtAuthz(f *testing.F) {
	b := newBench(f)
	for _, tc := range cases {
		for _, oneByOne := range []bool{false, true} {
			wire, err := proto.Marshal(checkRequest(tc.request(b.key), oneByOne))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var check auth.CheckRequest
		if proto.Unmarshal(wire, &check) != nil {
			return
		}
		response, err := extAuthz{verifier: b.Server}.Check(t.Context(), &check)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proto.Marshal(response); err != nil {
			t.Fatalf("an answer that cannot be sent: %v", err)
		}
		if response.GetOkResponse() != nil && !bytes.Contains(wire, []byte(b.key)) {
			t.Fatal("admitted without the key")
		}
	})
}
