// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// envoyExample is a configuration of config/integrations/gateways/envoy, read with Envoy's own types: unknown fields and values against
// Envoy's rules fail. Envoy itself is no package of the systems that the tests run on.
type envoyExample struct {
	filter      *extauthz.ExtAuthz
	connections *manager.HttpConnectionManager
	routes      []*route.Route
}

func readEnvoyExample(t *testing.T, name string) envoyExample {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "integrations", "gateways", "envoy", name))
	must(t, err)
	content, err = yaml.YAMLToJSON(content)
	must(t, err)
	config := &bootstrap.Bootstrap{}
	must(t, protojson.Unmarshal(content, config))
	must(t, config.ValidateAll())
	unpacked := func(packed *anypb.Any, into proto.Message) {
		message, err := packed.UnmarshalNew()
		must(t, err)
		must(t, message.(interface{ ValidateAll() error }).ValidateAll())
		if into != nil {
			proto.Merge(into, message)
		}
	}
	connections := &manager.HttpConnectionManager{}
	unpacked(config.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig(), connections)
	example := envoyExample{filter: &extauthz.ExtAuthz{}, connections: connections, routes: connections.GetRouteConfig().GetVirtualHosts()[0].GetRoutes()}
	for _, filter := range connections.GetHttpFilters() {
		if filter.GetName() == "envoy.filters.http.ext_authz" {
			unpacked(filter.GetTypedConfig(), example.filter)
		}
	}
	for _, world := range config.GetStaticResources().GetClusters() {
		for _, options := range world.GetTypedExtensionProtocolOptions() {
			unpacked(options, nil)
		}
		if world.GetName() != "dgbot-verifier" {
			continue
		}
		context := &tls.UpstreamTlsContext{}
		unpacked(world.GetTransportSocket().GetTypedConfig(), context)
		trust := context.GetCommonTlsContext().GetValidationContext()
		if names := trust.GetMatchTypedSubjectAltNames(); trust.GetTrustedCa().GetFilename() == "" || len(names) != 1 || names[0].GetMatcher().GetExact() != tlsName || context.GetSni() != tlsName {
			t.Errorf("%s: what the verifier is asked leaves the node without TLS, or for any server: %v", name, context)
		}
	}
	example.checkPaths(t, name)
	if example.filter.GetFailureModeAllow() || example.filter.GetWithRequestBody() != nil || example.filter.GetStatusOnError().GetCode() != 503 {
		t.Error("without a verifier requests are let in, or refused as if the key were bad")
	}
	return example
}

// checkPaths fails if a request can reach the API under a path for which fewer scopes are asked than under the path that the API reads.
func (e envoyExample) checkPaths(t *testing.T, name string) {
	t.Helper()
	if e.connections.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction().String() != "REJECT_REQUEST" {
		t.Errorf("%s: requests with an underscore in a header's name reach the API", name)
	}
	if c := e.connections; !c.GetNormalizePath().GetValue() || !c.GetMergeSlashes() || c.GetPathWithEscapedSlashesAction() != manager.HttpConnectionManager_REJECT_REQUEST {
		t.Errorf("%s: routes are found by another path than the API gets", name)
	}
	if c := e.connections; !c.GetUseRemoteAddress().GetValue() || c.InternalAddressConfig == nil || len(c.InternalAddressConfig.GetCidrRanges()) > 0 {
		t.Errorf("%s: clients can count as internal, and have Envoy repeat their requests", name)
	}
	host := e.connections.GetRouteConfig().GetVirtualHosts()[0]
	for _, header := range []string{"x-original-url", "x-rewrite-url", "x-original-uri"} {
		if !slices.Contains(host.GetRequestHeadersToRemove(), header) {
			t.Errorf("%s: a client's %s, from which some frameworks take the path, reaches the API", name, header)
		}
	}
	for i, r := range e.routes {
		asked, _ := e.asks(t, r)
		if isOnePath := r.GetMatch().GetPath() != ""; r.GetRoute() != nil && asked == "" && !isOnePath {
			t.Errorf("%s: route %d lets keys through whatever their scopes, under more than one path", name, i)
		}
	}
	if last := e.routes[len(e.routes)-1]; last.GetMatch().GetPrefix() != "/" || last.GetDirectResponse().GetStatus() != http.StatusNotFound {
		t.Errorf("%s: what is not listed is not denied", name)
	}
	for _, target := range hostilePaths {
		if r := e.find(target); r != nil && r.GetRoute() != nil {
			asked, _ := e.asks(t, r)
			if at := leniently(target); at != "/whoami" && asked == "" {
				t.Errorf("%s: %s may be read as %s, and asks for no scopes", name, target, at)
			}
		}
	}
}

// asks returns what a route asks for: by itself over gRPC, by the filter over HTTP. isAsked is false where it asks nothing.
func (e envoyExample) asks(t *testing.T, r *route.Route) (scopes string, isAsked bool) {
	t.Helper()
	perRoute := &extauthz.ExtAuthzPerRoute{}
	if packed := r.GetTypedPerFilterConfig()["envoy.filters.http.ext_authz"]; packed != nil {
		must(t, packed.UnmarshalTo(perRoute))
		must(t, perRoute.ValidateAll())
	}
	if perRoute.GetDisabled() {
		if r.GetDirectResponse() == nil {
			t.Errorf("a route to the API asks no verifier: %v", r)
		}
		return "", false
	}
	for _, added := range e.filter.GetHttpService().GetAuthorizationRequest().GetHeadersToAdd() {
		if added.GetKey() == "x-dgbot-required-scopes" {
			return added.GetValue(), true
		}
	}
	return perRoute.GetCheckSettings().GetContextExtensions()["required-scopes"], true
}

// find returns the route that Envoy documents for a path with the settings that checkPaths asks for; nil where Envoy rejects the request.
func (e envoyExample) find(target string) *route.Route {
	target, _, _ = strings.Cut(target, "?")
	if regexp.MustCompile(`(?i)%2f|%5c|%00`).MatchString(target) {
		return nil
	}
	target = regexp.MustCompile(`(?i)%2e`).ReplaceAllString(strings.ReplaceAll(target, `\`, "/"), ".")
	isFolder := strings.HasSuffix(target, "/")
	if target = path.Clean(target); isFolder && target != "/" {
		target += "/"
	}
	for _, candidate := range e.routes {
		match := candidate.GetMatch()
		var is bool
		switch {
		case match.GetSafeRegex() != nil:
			is = regexp.MustCompile(`^(?:` + match.GetSafeRegex().GetRegex() + `)$`).MatchString(target)
		case match.GetPath() != "":
			is = match.GetPath() == target
		case match.GetPathSeparatedPrefix() != "":
			is = target == match.GetPathSeparatedPrefix() || strings.HasPrefix(target, match.GetPathSeparatedPrefix()+"/")
		default:
			is = strings.HasPrefix(target, match.GetPrefix())
		}
		if is {
			return candidate
		}
	}
	return nil
}

func TestTheEnvoyExampleAsksOverGRPC(t *testing.T) {
	example := readEnvoyExample(t, "grpc.yaml")
	p := newPlace(t)
	text := p.key("crm", "staging")
	address := freeAddress(t)
	startVerifier(t, "--grpc-bind-address="+address).becomes("the key", text, http.StatusOK)
	g := newGateway(t, address, insecure.NewCredentials())
	p.PatchKey("crm", `{"spec": {"scopes": ["conversations.read"]}}`)
	scopes := func(path string) string {
		asked, isAsked := example.asks(t, example.find(path))
		if !isAsked {
			t.Fatalf("%s asks no verifier", path)
		}
		return asked
	}
	for path, want := range map[string]int{"/whoami": 200, "/conversations/1": 403} {
		if code, _ := g.check(text, scopes(path)); code != want {
			t.Errorf("%s with one of two scopes: %d, want %d", path, code, want)
		}
	}
	p.PatchKey("crm", `{"spec": {"scopes": ["conversations.*"]}}`)
	eventually(t, "a key with both scopes is let in", func() bool {
		code, _ := g.check(text, scopes("/conversations/1"))
		return code == http.StatusOK
	})
}

func matches(patterns *matcher.ListStringMatcher, name string) bool {
	for _, pattern := range patterns.GetPatterns() {
		switch of := pattern.GetMatchPattern().(type) {
		case *matcher.StringMatcher_Exact:
			if of.Exact == name {
				return true
			}
		case *matcher.StringMatcher_Prefix:
			if strings.HasPrefix(name, of.Prefix) {
				return true
			}
		case *matcher.StringMatcher_SafeRegex:
			if regexp.MustCompile(`^(?:` + of.SafeRegex.GetRegex() + `)$`).MatchString(name) {
				return true
			}
		}
	}
	return false
}

// through does what Envoy documents of ext_authz over HTTP, and returns the answer and what reaches the API.
func (e envoyExample) through(t *testing.T, v *verifier, path string, caller http.Header) (code int, reaches http.Header) {
	t.Helper()
	service := e.filter.GetHttpService()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+v.Address+service.GetPathPrefix()+path, nil)
	must(t, err)
	reaches = caller.Clone()
	for name, values := range caller {
		if matches(e.filter.GetAllowedHeaders(), strings.ToLower(name)) {
			request.Header[name] = values
		}
	}
	for _, added := range service.GetAuthorizationRequest().GetHeadersToAdd() {
		request.Header.Set(added.GetKey(), added.GetValue())
	}
	response, err := v.Client.Do(request)
	must(t, err)
	_ = response.Body.Close()
	for name, values := range response.Header {
		if matches(service.GetAuthorizationResponse().GetAllowedUpstreamHeaders(), strings.ToLower(name)) {
			reaches[name] = values
		}
	}
	for name := range strings.SplitSeq(response.Header.Get("X-Envoy-Auth-Headers-To-Remove"), ",") {
		reaches.Del(strings.TrimSpace(name))
	}
	for name := range reaches {
		if strings.HasPrefix(strings.ToLower(name), "x-dgbot-") && reaches.Get(name) == "" {
			t.Errorf("%s reaches the API without a value", name)
		}
	}
	return response.StatusCode, reaches
}

func TestTheEnvoyExampleAsksOverHTTP(t *testing.T) {
	example := readEnvoyExample(t, "http.yaml")
	p := newPlace(t)
	text := p.key("crm", "staging")
	v := startVerifier(t)
	v.becomes("the key", text, http.StatusOK)
	code, reaches := example.through(t, v, "/messages", http.Header{
		"X-Api-Key": {text}, "Accept": {"text/html"}, "X-Dgbot-Scopes": {"*"}, "X-Dgbot-Label": {"root"}, "X-Dgbot-Chatbot-Id": {"1"}, "X-Dgbot-Key-Uid": {"another"},
		"X.dgbot.scopes": {"*"}, "X-Dgbot.scopes": {"*"}, "X~dgbot~key-Id": {"1"},
	})
	if code != http.StatusOK {
		t.Fatalf("a good key: %d", code)
	}
	for name, want := range map[string]string{
		"X-Api-Key": "", "Accept": "text/html", "X-Dgbot-Scopes": "conversations.read", "X-Dgbot-Label": "", "X-Dgbot-Chatbot-Id": "",
		"X-Dgbot-Environment": "staging", "X-Dgbot-Key-Uid": string(p.Key("crm").UID), "X-Dgbot-Key-Id": strings.Split(text, "_")[2],
	} {
		if got := reaches.Get(name); got != want {
			t.Errorf("%s reaches the API as %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X.dgbot.scopes", "X-Dgbot.scopes", "X~dgbot~key-Id"} {
		if values, is := reaches[name]; is {
			t.Errorf("a client's %s reaches the API as %q", name, values)
		}
	}
	if code, _ := example.through(t, v, "/messages", http.Header{"Cookie": {text}}); code != http.StatusUnauthorized {
		t.Errorf("no key: %d", code)
	}
	if code, _ := example.through(t, v, "/x", http.Header{"X-Api-Key": {text}, "X-Dgbot-Required-Scopes": {"a.b"}}); code != http.StatusOK {
		t.Errorf("the caller's own wish for scopes counts: %d", code)
	}
	p.PatchKey("crm", `{"spec": {"scopes": ["messages.read"]}}`)
	eventually(t, "a key without the scope is refused", func() bool {
		code, _ := example.through(t, v, "/messages", http.Header{"Authorization": {"Bearer " + text}})
		return code == http.StatusForbidden
	})
}
