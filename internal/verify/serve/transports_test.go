// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestCredential_IsTheSameRuleForEveryTransport asks for each combination of headers over HTTP and gRPC, with repeated
// headers sent one by one and joined with a comma.
func TestCredential_IsTheSameRuleForEveryTransport(t *testing.T) {
	const good, rejected = http.StatusOK, http.StatusUnauthorized
	b := newBench(t)
	key, other := b.key, verifytest.Mint(t).Reveal()
	type values = []string
	for name, tc := range map[string]struct {
		authorization, apiKey values
		want                  int
	}{
		"X-API-Key":                            {nil, values{key}, good},
		"X-API-Key twice":                      {nil, values{key, key}, good},
		"X-API-Key three times":                {nil, values{key, key, key}, good},
		"two keys":                             {nil, values{key, other}, rejected},
		"two keys, the other first":            {nil, values{other, key}, rejected},
		"the same key, then another":           {nil, values{key, key, other}, rejected},
		"a key and something else":             {nil, values{key, "x"}, rejected},
		"a key and nothing":                    {nil, values{key, ""}, good},
		"nothing and a key":                    {nil, values{"", key}, good},
		"nothing":                              {nil, values{""}, rejected},
		"a Bearer":                             {values{"Bearer " + key}, nil, good},
		"a Bearer twice":                       {values{"Bearer " + key, "bearer " + key}, nil, good},
		"two Bearers":                          {values{"Bearer " + key, "Bearer " + other}, nil, rejected},
		"a Bearer and a bare key":              {values{"Bearer " + key, key}, nil, rejected},
		"a Bearer and nothing":                 {values{"Bearer " + key, ""}, nil, good},
		"a Bearer and another scheme":          {values{"Basic Zm9v", "Bearer " + key}, nil, rejected},
		"both headers":                         {values{"Bearer " + key}, values{key}, good},
		"both headers, each twice":             {values{"Bearer " + key, "Bearer " + key}, values{key, key}, good},
		"another key in Authorization":         {values{"Bearer " + other}, values{key}, rejected},
		"another scheme beside X-API-Key":      {values{"Basic Zm9v"}, values{key}, good},
		"a scheme with commas beside it":       {values{`Digest username="a", uri="/", nonce="b"`}, values{key}, good},
		"another key after another scheme":     {values{"Basic Zm9v", "Bearer " + other}, values{key}, rejected},
		"a JWT beside X-API-Key":               {values{"Bearer eyJ0.e30.x"}, values{key}, good},
		"a key of over 128 bytes":              {nil, values{key + strings.Repeat("x", 128)}, rejected},
		"a key of over 128 bytes and the good": {nil, values{key, key + strings.Repeat("x", 128)}, rejected},
	} {
		separate := http.Header{}
		for header, sent := range map[string]values{"Authorization": tc.authorization, "X-Api-Key": tc.apiKey} {
			if sent != nil {
				separate[header] = sent
			}
		}
		for how, header := range map[string]http.Header{
			"one by one": separate, "joined": joinedWith(separate, ","), "joined with a space": joinedWith(separate, ", "), "joined with a tab": joinedWith(separate, "\t,\t"),
		} {
			asked := request{header: header}
			got := map[string]int{}
			for _, path := range []string{"/v1/verify", "/check"} {
				got[path] = b.do(path, asked).Code
			}
			for form, oneByOne := range map[string]bool{"gRPC headers": false, "gRPC header_map": true} {
				response := b.check(t, checkRequest(asked, oneByOne))
				got[form] = int(response.GetDeniedResponse().GetStatus().GetCode())
				if response.GetOkResponse() != nil {
					got[form] = good
				}
			}
			for transport, code := range got {
				if code != tc.want {
					t.Errorf("%s, %s, %s: %d, want %d", name, how, transport, code, tc.want)
				}
			}
		}
	}
}

// joinedWith returns the header with one value a name, as a proxy that joins repeated headers sends it.
func joinedWith(header http.Header, separator string) http.Header {
	joined := http.Header{}
	for name, values := range header {
		joined[name] = []string{strings.Join(values, separator)}
	}
	return joined
}

// TestCredential_IsRemovedFromEveryHeader covers that no header with the key reaches the service behind the gateway.
func TestCredential_IsRemovedFromEveryHeader(t *testing.T) {
	b := newBench(t)
	header := http.Header{"X-Api-Key": {b.key + ", " + b.key}, "Authorization": {"Bearer " + b.key + "," + "Bearer " + b.key}}
	if got := b.do("/check", request{header: header}).Header().Get(removeHeader); got != "authorization,x-api-key,x-dgbot-chatbot-id" {
		t.Errorf("HTTP removes %q", got)
	}
	ok := b.check(t, checkRequest(request{header: header}, false)).GetOkResponse()
	for _, name := range []string{"authorization", "x-api-key"} {
		if !slices.Contains(ok.GetHeadersToRemove(), name) {
			t.Errorf("gRPC removes %s", fmt.Sprint(ok.GetHeadersToRemove()))
		}
	}
}

// TestEveryTransport_RejectsHeaderNamesThatAreNotASCII, because services read them differently. With a rejected key the answer is the same as
// without them.
func TestEveryTransport_RejectsHeaderNamesThatAreNotASCII(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"x-dgbot-\u212aey-id", "x-dgbot-\u017fcopes", "x-dgbot-\u212aey-uid", "X-API-\u212aey", "x-dgbot-scopes ", "x-\u00e9", "x-\x7f", "a\tb"} {
		for what, tc := range map[string]struct {
			key  string
			want int
		}{"a good key": {b.key, http.StatusBadRequest}, "a bad key": {"x", http.StatusUnauthorized}} {
			header := bearerOf(tc.key)
			header[name] = []string{"*"}
			for _, path := range []string{"/v1/verify", "/check"} {
				if got := b.do(path, request{header: header}).Code; got != tc.want {
					t.Errorf("%s, %q with %s: %d, want %d", path, name, what, got, tc.want)
				}
			}
			for _, oneByOne := range []bool{false, true} {
				asked := checkRequest(request{header: bearerOf(tc.key)}, oneByOne)
				if http := asked.Attributes.Request.Http; oneByOne {
					http.HeaderMap.Headers = append(http.HeaderMap.Headers, &core.HeaderValue{Key: name, RawValue: []byte("*")})
				} else {
					http.Headers[name] = "*"
				}
				if got := int(b.check(t, asked).GetDeniedResponse().GetStatus().GetCode()); got != tc.want {
					t.Errorf("gRPC, %q with %s: %d, want %d", name, what, got, tc.want)
				}
			}
		}
	}
	// Pseudo headers are those of Envoy.
	asked := checkRequest(request{header: bearerOf(b.key)}, false)
	asked.Attributes.Request.Http.Headers[":path"] = "/"
	if b.check(t, asked).GetOkResponse() == nil {
		t.Error("a pseudo header is rejected")
	}
	// A credential is only in the header of that very name.
	asked = checkRequest(request{header: http.Header{"Accept": {"*/*"}}}, false)
	asked.Attributes.Request.Http.Headers["x-api-\u212aey"] = b.key
	if got := b.check(t, asked).GetDeniedResponse().GetStatus().GetCode(); got != http.StatusUnauthorized {
		t.Errorf("a key in another header: %d", got)
	}
}
