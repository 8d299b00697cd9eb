// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"iter"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// requiredExtension is the context extension in which Envoy's configuration lists the scopes that a route requires. A header could come from
// the client.
const requiredExtension = "required-scopes"

// extAuthz implements Envoy's external authorization over gRPC. It denies with a response, never with a gRPC error: depending
// on its configuration, Envoy lets the request pass after an error.
type extAuthz struct {
	auth.UnimplementedAuthorizationServer
	verifier *Server
}

// Check implements envoy.service.auth.v3.Authorization.
func (s extAuthz) Check(_ context.Context, check *auth.CheckRequest) (*auth.CheckResponse, error) {
	http := check.GetAttributes().GetRequest().GetHttp()
	f := s.verifier.ask(question{
		names: namesOf(http), authorization: valuesOf(http, "authorization"), apiKey: valuesOf(http, keyHeader),
		scopes: func() ([]string, bool) {
			return splitScopes([]string{check.GetAttributes().GetContextExtensions()[requiredExtension]})
		},
	})
	if f.answer == accepted {
		return accept(f, http), nil
	}
	return deny(f.answer), nil
}

// valuesOf returns the values of a header, in any case of its name. Envoy sends headers in one of two forms: as a map, in which
// repeated headers are joined with a comma, or one by one, as bytes.
func valuesOf(request *auth.AttributeContext_HttpRequest, name string) (values []string) {
	for its, value := range request.GetHeaders() {
		if equalFold(its, name) {
			values = append(values, value)
		}
	}
	for _, header := range request.GetHeaderMap().GetHeaders() {
		if !equalFold(header.GetKey(), name) {
			continue
		}
		value := header.GetValue()
		if raw := header.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		values = append(values, value)
	}
	return values
}

// namesOf yields the names of all headers.
func namesOf(request *auth.AttributeContext_HttpRequest) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range request.GetHeaders() {
			if !yield(name) {
				return
			}
		}
		for _, header := range request.GetHeaderMap().GetHeaders() {
			if !yield(header.GetKey()) {
				return
			}
		}
	}
}

// acceptance is an answer that accepts a key, in one allocation.
type acceptance struct {
	response auth.CheckResponse
	status   status.Status
	holder   auth.CheckResponse_OkResponse
	ok       auth.OkHttpResponse
	headers  [5]struct {
		option core.HeaderValueOption
		value  core.HeaderValue
	}
	options [5]*core.HeaderValueOption
}

func accept(f finding, request *auth.AttributeContext_HttpRequest) *auth.CheckResponse {
	set, a := headersFor(f.entry), &acceptance{}
	for i, header := range set {
		h := &a.headers[i]
		h.value.Key, h.value.Value = header.name, header.value
		h.option.Header, h.option.AppendAction = &h.value, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		a.options[i] = &h.option
	}
	a.ok.Headers, a.ok.HeadersToRemove = a.options[:], headersToRemove(namesOf(request), f.credential, set[:])
	a.status.Code, a.holder.OkResponse = int32(codes.OK), &a.ok
	a.response.Status, a.response.HttpResponse = &a.status, &a.holder
	// An encoded field is appended to the others as it is.
	a.response.ProtoReflect().SetUnknown(encodeMetadata(f.entry.Identity(), f.cluster))
	return &a.response
}

func overwrite(h header) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: h.name, Value: h.value},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

var codeOf = map[answer]codes.Code{
	rejectedKey: codes.Unauthenticated, badRequest: codes.InvalidArgument, missingScopes: codes.PermissionDenied, unready: codes.Unavailable,
}

func deny(a answer) *auth.CheckResponse {
	denied := &auth.DeniedHttpResponse{Status: &envoy.HttpStatus{Code: envoy.StatusCode(statusOf[a])}} //nolint:gosec // three digits
	if a == rejectedKey {
		denied.Headers = []*core.HeaderValueOption{overwrite(header{challengeHeader, challenge})}
	}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(codeOf[a])}, //nolint:gosec // below 17
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied},
	}
}
