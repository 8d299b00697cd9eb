// SPDX-License-Identifier: Apache-2.0

package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestGet_PrefersTheRelease(t *testing.T) {
	checkout := &debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20261129-abcdef"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abcdef"}, {Key: "vcs.modified", Value: "true"},
	}}
	for name, tc := range map[string]struct {
		release string
		build   *debug.BuildInfo
		want    string
	}{
		"a release":                  {"v1.2.3", &debug.BuildInfo{}, "v1.2.3 ("},
		"a release from a checkout":  {"v1.2.3", checkout, "v1.2.3 (commit abcdef+dirty, "},
		"a checkout":                 {"", checkout, "v0.0.0-20261129-abcdef (commit abcdef+dirty, "},
		"outside of version control": {"", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "devel ("},
		"without build information":  {"", &debug.BuildInfo{}, "devel ("},
	} {
		if got := infoOf(tc.release, tc.build).String(); !strings.HasPrefix(got, tc.want) || !strings.Contains(got, "go1.") {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if Get().Version == "" {
		t.Error("a test has no version")
	}
}
