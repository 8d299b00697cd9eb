// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
)

func shipped(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// What is shipped and written elsewhere is what is written here. test/policy compares the admission policy.
func TestTheExpressionIsTheSameEverywhere(t *testing.T) {
	for path, line := range map[string]string{
		"docs/key-format.md":                         "    " + Form,
		"config/integrations/scanners/gitleaks.toml": "regex = '''" + InText + "'''",
		"docs/leaks.md":                              "| Secret format | `" + Form + "` |",
	} {
		if !strings.Contains(shipped(t, filepath.FromSlash(path)), "\n"+line+"\n") {
			t.Errorf("%s does not have the line %s", path, line)
		}
	}
}

// github is the body that GitHub's REST API takes.
type github struct {
	Patterns []struct {
		Name           string `json:"name"`
		Pattern        string `json:"pattern"`
		StartDelimiter string `json:"start_delimiter"`
		EndDelimiter   string `json:"end_delimiter"`
	} `json:"patterns"`
}

func readGitHub(t *testing.T) github {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(shipped(t, "config", "integrations", "scanners", "github-custom-patterns.json")))
	decoder.DisallowUnknownFields()
	var body github
	if err := decoder.Decode(&body); err != nil {
		t.Fatal(err)
	}
	if len(body.Patterns) != 1 {
		t.Fatalf("%d patterns, want one", len(body.Patterns))
	}
	return body
}

func TestGitHubsPatternFindsTheSame(t *testing.T) {
	pattern := readGitHub(t).Patterns[0]
	if pattern.Pattern != Form {
		t.Errorf("the pattern is %s, want %s", pattern.Pattern, Form)
	}
	// GitHub puts the three together like this.
	whole := regexp.MustCompile(`(?:` + pattern.StartDelimiter + `)(` + pattern.Pattern + `)(?:` + pattern.EndDelimiter + `)`)
	inText := regexp.MustCompile(InText)
	v := readVectors(t)
	texts := []string{}
	for _, vector := range v.Valid {
		for _, text := range mutations(vector.Text) {
			texts = append(texts, text, "x"+text, "%3D"+text+"%26", `\n`+text+`\n`, text+"\n"+text, " "+text+" ")
		}
	}
	for _, vector := range v.Invalid {
		texts = append(texts, vector.Text)
	}
	keys := 0
	for _, text := range texts {
		got, want := whole.FindStringSubmatch(text), inText.FindStringSubmatch(text)
		if (got == nil) != (want == nil) || got != nil && got[1] != want[1] {
			t.Errorf("%q: GitHub's pattern finds %v, want %v", text, got, want)
		}
		if want != nil {
			keys++
		}
	}
	if keys < 1000 || len(texts)-keys < 1000 {
		t.Errorf("%d of %d texts were keys: this compares nothing", keys, len(texts))
	}
	page := shipped(t, "docs", "leaks.md")
	for field, value := range map[string]string{"Before secret": pattern.StartDelimiter, "After secret": pattern.EndDelimiter} {
		if !strings.Contains(page, "\n| "+field+" | `"+strings.ReplaceAll(value, "|", `\|`)+"` |\n") {
			t.Errorf("docs/leaks.md has another value for %s", field)
		}
	}
	if !strings.Contains(page, v.Valid[0].Text) || !whole.MatchString(v.Valid[0].Text) {
		t.Error("docs/leaks.md has another sample for the dry run")
	}
}

// GitHub takes what Hyperscan does, without option modifiers. That is what RE2 does, except for what is looked for here:
// flags, assertions inside an expression, and expressions that match nothing at all.
func TestGitHubsPatternKeepsToHyperscan(t *testing.T) {
	pattern := readGitHub(t).Patterns[0]
	for name, expression := range map[string]string{"pattern": pattern.Pattern, "start": pattern.StartDelimiter, "end": pattern.EndDelimiter} {
		parsed, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if regexp.MustCompile(`\(\?[a-zA-Z-]|\(\?[=!<>]|\\[pPQEbBCXKRG1-9]`).MatchString(expression) {
			t.Errorf("%s has a flag, a look-around or a class that Hyperscan may not take: %s", name, expression)
		}
		if len(expression) > 1000 || strings.ContainsAny(expression, "\n\r\t") {
			t.Errorf("%s is too long, or has a line break", name)
		}
		if name == "pattern" && (asserts(parsed) || regexp.MustCompile(expression).MatchString("")) {
			t.Errorf("the pattern has an anchor, or matches nothing at all: %s", expression)
		}
	}
}

func asserts(expression *syntax.Regexp) bool {
	switch expression.Op {
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpEmptyMatch:
		return true
	default:
	}
	for _, part := range expression.Sub {
		if asserts(part) {
			return true
		}
	}
	return false
}
