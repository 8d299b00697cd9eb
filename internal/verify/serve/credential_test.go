// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"slices"
	"strings"
	"testing"
)

func TestWhereTheKeyIs(t *testing.T) {
	key := "dgbot_a"
	for name, tc := range map[string]struct {
		authorization, apiKey []string
		want                  carried
	}{
		"nowhere":                              {nil, nil, carried{}},
		"a Bearer":                             {[]string{"Bearer dgbot_a"}, nil, carried{key, true, false}},
		"in whatever case":                     {[]string{"bEARER dgbot_a"}, nil, carried{key, true, false}},
		"two spaces":                           {[]string{"Bearer  dgbot_a"}, nil, carried{" dgbot_a", true, false}},
		"a tab":                                {[]string{"Bearer\tdgbot_a"}, nil, carried{}},
		"the scheme alone":                     {[]string{"Bearer "}, nil, carried{}},
		"another scheme":                       {[]string{"Basic dgbot_a"}, nil, carried{}},
		"X-API-Key":                            {nil, []string{key}, carried{key, false, true}},
		"an empty X-API-Key":                   {[]string{"Bearer dgbot_a"}, []string{""}, carried{key, true, false}},
		"the same twice":                       {[]string{"Bearer dgbot_a", "bearer dgbot_a"}, []string{key, key}, carried{key, true, true}},
		"another scheme beside X-API-Key":      {[]string{"Basic abc"}, []string{key}, carried{key, false, true}},
		"another product's Bearer beside it":   {[]string{"Bearer eyJ0"}, []string{key}, carried{key, false, true}},
		"a JWT alone":                          {[]string{"Bearer eyJ0"}, nil, carried{"eyJ0", true, false}},
		"two keys in Authorization":            {[]string{"Bearer dgbot_a", "Bearer dgbot_b"}, nil, carried{}},
		"two keys in X-API-Key":                {nil, []string{key, "dgbot_b"}, carried{}},
		"a key in each":                        {[]string{"Bearer dgbot_b"}, []string{key}, carried{}},
		"a second key without its scheme":      {[]string{"Bearer dgbot_a, dgbot_b"}, []string{key}, carried{}},
		"two credentials, one of them a key":   {[]string{"Bearer eyJ0", "Bearer dgbot_a"}, nil, carried{}},
		"another scheme beside a Bearer":       {[]string{"Basic abc", "Bearer dgbot_a"}, nil, carried{}},
		"too long":                             {nil, []string{"dgbot_" + strings.Repeat("a", 123)}, carried{}},
		"as long as can be":                    {nil, []string{strings.Repeat("a", 128)}, carried{strings.Repeat("a", 128), false, true}},
		"two keys, joined by a proxy":          {nil, []string{"dgbot_a, dgbot_b"}, carried{}},
		"the same twice, joined by a proxy":    {[]string{"Bearer dgbot_a,bearer dgbot_a"}, []string{"dgbot_a,\tdgbot_a"}, carried{key, true, true}},
		"empty elements":                       {[]string{"", "Bearer dgbot_a, "}, []string{" ,"}, carried{key, true, false}},
		"another scheme with commas beside it": {[]string{`Digest username="a", uri="/"`}, []string{key}, carried{key, false, true}},
		"another key joined to another scheme": {[]string{"Basic abc, Bearer dgbot_b"}, []string{key}, carried{}},
	} {
		if got := credential(tc.authorization, tc.apiKey); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestWhatDoesNotReachTheServiceBehind(t *testing.T) {
	names := []string{"Authorization", "Cookie", "X-Api-Key", "X-Dgbot-Admin", "X-Dgbot-Key-Id", "X_DGBOT_KEY_ID", "x-dgbot_scopes", "X-Dgbots"}
	set := []header{{keyIDHeader, "a"}, {environmentHeader, "b"}, {chatbotIDHeader, "c"}, {scopesHeader, "d"}}
	got := headersToRemove(slices.Values(names), carried{"k", false, true}, set)
	if want := []string{"x-api-key", "x-dgbot-admin", "x-dgbot_scopes", "x_dgbot_key_id"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	got = headersToRemove(slices.Values(names[:3]), carried{"k", true, true}, set)
	if want := []string{"authorization", "x-api-key"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHeadersToRemove_TakesNoLetterForAnother: strings.EqualFold reads U+212A as k and U+017F as s. So a header that is not ours was
// taken for one that is overwritten, and reached the service behind.
func TestHeadersToRemove_TakesNoLetterForAnother(t *testing.T) {
	set := []header{{keyIDHeader, "a"}, {environmentHeader, ""}, {scopesHeader, "d"}}
	names := []string{"x-dgbot-\u212aey-id", "X-DGbot-\u017fcopes", "x.dgbot.scopes", "x-dgbot scopes", "x-dgbot-scopes", "x-dgbots"}
	got := headersToRemove(slices.Values(names), carried{}, set)
	want := []string{"x-dgbot scopes", "x-dgbot-environment", "x-dgbot-\u017fcopes", "x-dgbot-\u212aey-id", "x.dgbot.scopes"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := headersToRemove(slices.Values([]string{"X-API-\u212aEY"}), carried{"k", true, true}, nil); len(got) > 0 {
		t.Errorf("%q carried no key", got)
	}
}
