// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestNames_CategoryShowsAllKinds(t *testing.T) {
	for plural, short := range map[string][]string{
		"dgbotapikeys": {"dgkey"}, "dgbotapikeyrecords": {"dgrec"}, "dgbotchatbots": {"dgbotcb", "dgcb"}, "dgbotenvironments": {"dgenv"},
	} {
		names, _, err := unstructured.NestedMap(crd(t, plural), "spec", "names")
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(names["categories"]); got != "[dgbot]" {
			t.Errorf("%s: categories %s, want [dgbot]", plural, got)
		}
		if got, want := fmt.Sprint(names["shortNames"]), fmt.Sprint(short); got != want {
			t.Errorf("%s: short names %s, want %s", plural, got, want)
		}
	}
}

// TestLists_AreNotMergedInSpec: in a list of type set or map, and in a granular map, server-side apply keeps what another
// field manager added. Each of these fields grants something, so Git has to be able to take it away again.
func TestLists_AreNotMergedInSpec(t *testing.T) {
	lists, maps := 0, 0
	for _, plural := range plurals {
		schemaOf(t, plural, "spec").each(plural+".spec", func(path string, s schema) {
			if strings.Contains(path, "namespaceSelector") {
				// A metav1.LabelSelector: an atomic struct, whatever is in it.
				return
			}
			if s.text("type") == "array" {
				lists++
				if got := s.text("x-kubernetes-list-type"); got != "atomic" {
					t.Errorf("%s: list type %q, want atomic", path, got)
				}
			}
			if s["additionalProperties"] != nil {
				maps++
				if got := s.text("x-kubernetes-map-type"); got != "atomic" {
					t.Errorf("%s: map type %q, want atomic", path, got)
				}
			}
		})
	}
	if lists != 6 || maps != 4 {
		t.Errorf("%d lists and %d maps found, want 6 and 4: judge a new one, and count it here", lists, maps)
	}
	if got := schemaOf(t, "dgbotenvironments", "spec", "namespaceSelector").text("x-kubernetes-map-type"); got != "atomic" {
		t.Errorf("namespaceSelector: map type %q, want atomic", got)
	}
}

// TestDefaults_OnlyWhereFinalityNeedsThem: a default has no field manager. Argo CD leaves such a field out of its
// comparison, so a change of it by another client would not be seen.
func TestDefaults_OnlyWhereFinalityNeedsThem(t *testing.T) {
	var got []string
	for _, plural := range plurals {
		schemaOf(t, plural).each(plural, func(path string, s schema) {
			if s["default"] != nil && !strings.HasSuffix(path, ".status") {
				got = append(got, path)
			}
		})
	}
	if want := []string{"dgbotapikeyrecords.spec.state"}; !slices.Equal(got, want) {
		t.Errorf("fields with a default: %v, want %v", got, want)
	}
}
