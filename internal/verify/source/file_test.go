// SPDX-License-Identifier: Apache-2.0

package source

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

const good = `# in order of precedence
sources:
- name: home
- name: staging-eu
  kubeconfig: staging-eu.kubeconfig
  usageNamespace: dgbot-system
  environments: [staging]
  namespaces: []
  scopes: [conversations.*]
  maxRecords: 5000
- {name: us, kubeconfig: /etc/dgbot/us, environments: [staging, development]}
`

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sources.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead_ReturnsTheSourcesInOrder(t *testing.T) {
	path := write(t, good)
	entries, err := Read(path, true)
	if err != nil {
		t.Fatal(err)
	}
	most, byDefault := int64(5000), int64(defaultRecords)
	want := []Entry{
		{Name: "home"},
		{
			Name: "staging-eu", Kubeconfig: filepath.Join(filepath.Dir(path), "staging-eu.kubeconfig"), UsageNamespace: "dgbot-system",
			Environments: []string{"staging"}, Namespaces: []string{}, Scopes: []v1alpha1.Scope{"conversations.*"}, MaxRecords: &most,
		},
		{Name: "us", Kubeconfig: "/etc/dgbot/us", Environments: []string{"staging", "development"}, MaxRecords: &byDefault},
	}
	if !reflect.DeepEqual(entries, want) {
		t.Errorf("%+v\nwant %+v", entries, want)
	}
	for i, records := range []int64{0, 5000, defaultRecords} {
		if got := entries[i].Limits().Records; got != records {
			t.Errorf("%s may have %d records, want %d", entries[i].Name, got, records)
		}
	}
}

func TestRead_SaysWhatIsWrong(t *testing.T) {
	second := func(fields string) string {
		return "sources:\n- name: home\n- {name: eu, kubeconfig: x, " + fields + "}\n"
	}
	for content, want := range map[string]string{
		"":                                 "sources has 0 entries",
		"sources: []":                      "sources has 0 entries",
		"{":                                "yaml",
		"[]":                               "cannot unmarshal",
		"source: []":                       `unknown field "source"`,
		"sources: []\nsources: []":         "already set",
		good + "---\n" + good:              "a second YAML document",
		"sources:\n- {}":                   `sources[0] "": name: it is missing`,
		"sources:\n- name: Home":           `sources[0] "Home": name: `,
		"sources:\n- {name: home, url: x}": `unknown field "sources[0].url"`,
		second("environments: [a]") + "- name: b": `sources[2] "b": environments: name those`,
		second(""):                                                                      `sources[1] "eu": environments: name those`,
		second("environments: []"):                                                      `sources[1] "eu": environments: name those`,
		second("environments: [Staging]"):                                               `"Staging" is not a valid name of an environment`,
		second("environments: [a, a]"):                                                  `environments: "a" is listed twice`,
		second("environments: [a], namespaces: [A]"):                                    `"A" is not a valid name of a namespace`,
		second("environments: [a], scopes: ['a b']"):                                    `"a b" is not a valid name of a scope`,
		second("environments: [a], scopes: ['']"):                                       `"" is not a valid name of a scope`,
		second("environments: [a], usageNamespace: A/B"):                                `usageNamespace: "A/B"`,
		second("environments: [a], maxRecords: 0"):                                      "maxRecords is 0",
		second("environments: a"):                                                       "sources.environments: want []string, found string",
		second("environments: [a], maxRecords: many"):                                   "maxRecords",
		second("environments: [a]") + "- {name: eu, kubeconfig: z, environments: [a]}":  `the name "eu" is used by an earlier source`,
		second("environments: [a]") + "- {name: b, environments: [a]}":                  `sources[2] "b" has no kubeconfig, as "home"`,
		"sources:\n" + strings.Repeat("- {name: x, environments: [a]}\n", maxEntries+1): "sources has 33 entries",
		"# " + strings.Repeat("x", maxSize):                                             "has more than 1048576 bytes",
	} {
		entries, err := Read(write(t, content), true)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, %v; want %q", content, entries, err, want)
		}
	}
	if _, err := Read(t.TempDir(), true); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), true); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// TestRead_TakesACommentBeforeTheFirstDocument, which is no second document.
func TestRead_TakesACommentBeforeTheFirstDocument(t *testing.T) {
	for _, content := range []string{"---\nsources:\n- name: home\n", "# x\n---\nsources:\n- name: home\n", "\ufeffsources:\n- name: home\n"} {
		if _, err := Read(write(t, content), true); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestCheckWatches_BoundsTheSizeOfARegistration(t *testing.T) {
	for watches, want := range map[int]bool{0: true, 1: true, 400: true, 2000: false} {
		var namespaces []string
		for range watches {
			namespaces = append(namespaces, "namespace-1234")
		}
		if err := CheckWatches([]string{"production"}, namespaces); (err == nil) != want {
			t.Errorf("%d watches: %v", watches, err)
		}
	}
}
