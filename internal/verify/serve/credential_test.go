// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"slices"
	"strings"
	"testing"
)

func TestFindCredential(t *testing.T) {
	key := "dgbot_a"
	for name, tc := range map[string]struct {
		authorization, apiKey []string
		want                  credential
	}{
		"nowhere":                              {nil, nil, credential{}},
		"a Bearer":                             {[]string{"Bearer dgbot_a"}, nil, credential{key, true, false}},
		"in whatever case":                     {[]string{"bEARER dgbot_a"}, nil, credential{key, true, false}},
		"two spaces":                           {[]string{"Bearer  dgbot_a"}, nil, credential{" dgbot_a", true, false}},
		"a tab":                                {[]string{"Bearer\tdgbot_a"}, nil, credential{}},
		"the scheme alone":                     {[]string{"Bearer "}, nil, credential{}},
		"another scheme":                       {[]string{"Basic dgbot_a"}, nil, credential{}},
		"X-API-Key":                            {nil, []string{key}, credential{key, false, true}},
		"an empty X-API-Key":                   {[]string{"Bearer dgbot_a"}, []string{""}, credential{key, true, false}},
		"the same twice":                       {[]string{"Bearer dgbot_a", "bearer dgbot_a"}, []string{key, key}, credential{key, true, true}},
		"another scheme beside X-API-Key":      {[]string{"Basic abc"}, []string{key}, credential{key, false, true}},
		"another product's Bearer beside it":   {[]string{"Bearer eyJ0"}, []string{key}, credential{key, false, true}},
		"a JWT alone":                          {[]string{"Bearer eyJ0"}, nil, credential{"eyJ0", true, false}},
		"two keys in Authorization":            {[]string{"Bearer dgbot_a", "Bearer dgbot_b"}, nil, credential{}},
		"two keys in X-API-Key":                {nil, []string{key, "dgbot_b"}, credential{}},
		"a key in each":                        {[]string{"Bearer dgbot_b"}, []string{key}, credential{}},
		"a second key without its scheme":      {[]string{"Bearer dgbot_a, dgbot_b"}, []string{key}, credential{}},
		"two credentials, one of them a key":   {[]string{"Bearer eyJ0", "Bearer dgbot_a"}, nil, credential{}},
		"another scheme beside a Bearer":       {[]string{"Basic abc", "Bearer dgbot_a"}, nil, credential{}},
		"too long":                             {nil, []string{"dgbot_" + strings.Repeat("a", 123)}, credential{}},
		"as long as can be":                    {nil, []string{strings.Repeat("a", 128)}, credential{strings.Repeat("a", 128), false, true}},
		"two keys, joined by a proxy":          {nil, []string{"dgbot_a, dgbot_b"}, credential{}},
		"the same twice, joined by a proxy":    {[]string{"Bearer dgbot_a,bearer dgbot_a"}, []string{"dgbot_a,\tdgbot_a"}, credential{key, true, true}},
		"empty elements":                       {[]string{"", "Bearer dgbot_a, "}, []string{" ,"}, credential{key, true, false}},
		"another scheme with commas beside it": {[]string{`Digest username="a", uri="/"`}, []string{key}, credential{key, false, true}},
		"another key joined to another scheme": {[]string{"Basic abc, Bearer dgbot_b"}, []string{key}, credential{}},
	} {
		if got := findCredential(tc.authorization, tc.apiKey); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestHeadersToRemove(t *testing.T) {
	names := []string{"Authorization", "Cookie", "X-Api-Key", "X-Dgbot-Admin", "X-Dgbot-Key-Id", "X_DGBOT_KEY_ID", "x-dgbot_scopes", "X-Dgbots", "x-dgbot-key-uid", "X_Dgbot_Key-UID"}
	set := []header{{keyUIDHeader, "u"}, {keyIDHeader, "a"}, {environmentHeader, "b"}, {chatbotIDHeader, "c"}, {scopesHeader, "d"}}
	got := headersToRemove(slices.Values(names), credential{"k", false, true}, set)
	if want := []string{"x-api-key", "x-dgbot-admin", "x-dgbot_scopes", "x_dgbot_key-uid", "x_dgbot_key_id"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	got = headersToRemove(slices.Values(names[:3]), credential{"k", true, true}, set)
	if want := []string{"authorization", "x-api-key"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHeadersToRemove_TakesNoLetterForAnother covers that strings.EqualFold reads U+212A as k and U+017F as s: with it, a client's header was
// taken for one that Envoy overwrites, and reached the service behind the gateway.
func TestHeadersToRemove_TakesNoLetterForAnother(t *testing.T) {
	set := []header{{keyIDHeader, "a"}, {environmentHeader, ""}, {scopesHeader, "d"}}
	names := []string{"x-dgbot-\u212aey-id", "X-DGbot-\u017fcopes", "x.dgbot.scopes", "x-dgbot scopes", "x-dgbot-scopes", "x-dgbots"}
	got := headersToRemove(slices.Values(names), credential{}, set)
	want := []string{"x-dgbot scopes", "x-dgbot-environment", "x-dgbot-\u017fcopes", "x-dgbot-\u212aey-id", "x.dgbot.scopes"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := headersToRemove(slices.Values([]string{"X-API-\u212aEY"}), credential{"k", true, true}, nil); len(got) > 0 {
		t.Errorf("%q carried no key", got)
	}
}
