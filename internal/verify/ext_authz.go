// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"maps"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
)

// requiredExtension is where Envoy's configuration says which scopes a route asks for. A header would be the caller's word.
const requiredExtension = "required-scopes"

// extAuthz is Envoy's external authorization over gRPC. A refusal is an answer and never a gRPC error: what Envoy makes of an
// error depends on how it is configured, and could be to let the request pass.
type extAuthz struct {
	auth.UnimplementedAuthorizationServer
	verifier *Verifier
}

// Check implements envoy.service.auth.v3.Authorization.
func (s extAuthz) Check(_ context.Context, check *auth.CheckRequest) (*auth.CheckResponse, error) {
	headers := headersOf(check)
	f := s.verifier.ask(question{
		authorization: headers["authorization"], apiKey: headers["x-api-key"],
		scopes: func() ([]string, bool) {
			return splitScopes([]string{check.GetAttributes().GetContextExtensions()[requiredExtension]})
		},
	})
	if f.answer == good {
		return admit(f, headers), nil
	}
	return deny(f.answer), nil
}

// headersOf returns the request's headers by their name in lower case. Envoy sends them in one of two forms: as a map, where
// repeats are joined with a comma, or one by one, as bytes.
func headersOf(check *auth.CheckRequest) map[string][]string {
	request := check.GetAttributes().GetRequest().GetHttp()
	headers := make(map[string][]string, len(request.GetHeaders())+len(request.GetHeaderMap().GetHeaders()))
	for name, value := range request.GetHeaders() {
		name = strings.ToLower(name)
		headers[name] = append(headers[name], unrepeated(value))
	}
	for _, header := range request.GetHeaderMap().GetHeaders() {
		name, value := strings.ToLower(header.GetKey()), header.GetValue()
		if raw := header.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		headers[name] = append(headers[name], value)
	}
	return headers
}

// unrepeated returns one of several equal values that were joined with a comma, and everything else as it is: a key holds no
// comma, so that two different ones are none.
func unrepeated(value string) string {
	first, rest, joined := strings.Cut(value, ",")
	for joined {
		var next string
		next, rest, joined = strings.Cut(rest, ",")
		if strings.TrimPrefix(next, " ") != first {
			return value
		}
	}
	return first
}

func admit(f finding, headers map[string][]string) *auth.CheckResponse {
	ok := &auth.OkHttpResponse{HeadersToRemove: headersToRemove(slices.Sorted(maps.Keys(headers)), f.carried)}
	for _, header := range headersFor(f.entry) {
		ok.Headers = append(ok.Headers, overwrite(header))
		if header.value == "" {
			// Envoy leaves out a header without a value, which would leave the caller's in place. It removes last.
			ok.HeadersToRemove = append(ok.HeadersToRemove, strings.ToLower(header.name))
		}
	}
	scopes := &structpb.ListValue{}
	for scope := range strings.FieldsSeq(f.entry.scopes.Value()) {
		scopes.Values = append(scopes.Values, structpb.NewStringValue(scope))
	}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok},
		DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"keyID":       structpb.NewStringValue(string(f.entry.id[:])),
			"environment": structpb.NewStringValue(f.entry.environment.Value()),
			"chatbotID":   structpb.NewStringValue(""),
			"scopes":      structpb.NewListValue(scopes),
		}},
	}
}

func overwrite(h header) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: h.name, Value: h.value},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

var codeOf = map[answer]codes.Code{
	refusedKey: codes.Unauthenticated, badRequest: codes.InvalidArgument, missingScopes: codes.PermissionDenied, unready: codes.Unavailable,
}

func deny(a answer) *auth.CheckResponse {
	denied := &auth.DeniedHttpResponse{Status: &envoy.HttpStatus{Code: envoy.StatusCode(statusOf[a])}} //nolint:gosec // three digits
	if a == refusedKey {
		denied.Headers = []*core.HeaderValueOption{overwrite(header{challengeHeader, challenge})}
	}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(codeOf[a])}, //nolint:gosec // below 17
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied},
	}
}
