// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a block of code in a page: fenced, or indented after an empty line.
type block struct {
	// line is the number of its first line.
	line int
	// before is the line before it, without its indentation.
	before string
	// text is the block as it is in the page.
	text string
}

// Marks stand in the line before a block, or around it.
var (
	excerptMark = regexp.MustCompile(`^<!-- scenario: ([a-z-]+)/([a-z.-]+) -->$`)
	runByMark   = regexp.MustCompile(`^<!-- run by: ([a-z/]+) -->$`)
	notRunMark  = regexp.MustCompile(`^<!-- not run: (.+) -->$`)
	outputMark  = "<!-- output -->"
)

// blocks returns the blocks of code of a page.
func blocks(page string) (found []block) {
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		isFenced := strings.HasPrefix(strings.TrimSpace(lines[i]), "```")
		before := ""
		if i > 0 {
			before = strings.TrimSpace(lines[i-1])
		}
		isIndented := strings.HasPrefix(lines[i], "    ") && (before == "" || strings.HasSuffix(before, "-->"))
		if !isFenced && !isIndented {
			continue
		}
		first := i
		for i++; i < len(lines); i++ {
			if isFenced && strings.HasPrefix(strings.TrimSpace(lines[i]), "```") || isIndented && lines[i] != "" && !strings.HasPrefix(lines[i], "    ") {
				break
			}
		}
		found = append(found, block{first + 1, before, strings.Join(lines[first:i], "\n")})
	}
	return found
}

// TestPages_QuoteWhatRuns: a command in docs that no test runs is wrong sooner or later. Each block of a page is an excerpt of a
// scenario, names the test that runs it, has a reason why none does, or is what a command prints.
func TestPages_QuoteWhatRuns(t *testing.T) {
	found := 0
	for path, page := range pages(t) {
		for _, b := range blocks(page) {
			found++
			if problem := unproven(path, b); problem != "" {
				t.Errorf("%s:%d: %s:\n%s", path, b.line, problem, b.text)
			}
		}
	}
	if found < 80 {
		t.Errorf("found only %d blocks", found)
	}
}

// unproven returns what is wrong with the mark of a block.
func unproven(path string, b block) string {
	if excerptMark.MatchString(b.before) || notRunMark.MatchString(b.before) || b.before == outputMark {
		return ""
	}
	test := runByMark.FindStringSubmatch(b.before)
	if test == nil {
		return "no test runs this: quote a scenario, or put <!-- run by: FOLDER -->, <!-- not run: REASON --> or <!-- output --> in the line before"
	}
	tests, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(test[1]), "*_test.go"))
	if err != nil {
		return err.Error()
	}
	for _, file := range tests {
		content, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		if strings.Contains(string(content), filepath.Base(path)) {
			return ""
		}
	}
	return test[1] + " has no test that mentions " + filepath.Base(path)
}

// TestBlocks_FindsEveryForm keeps TestPages_QuoteWhatRuns from passing over a block.
func TestBlocks_FindsEveryForm(t *testing.T) {
	for form, page := range map[string]string{
		"indented":           "Words:\n\n    kubectl get x\n",
		"fenced":             "Words:\n```sh\nkubectl get x\n```\n",
		"in a list":          "1. Words:\n\n       kubectl get x\n",
		"fenced in a list":   "1. Words:\n   ```\n   kubectl get x\n   ```\n",
		"at the start":       "    kubectl get x",
		"run by another":     "<!-- run by: docs -->\n    kubectl get x\n",
		"without a reason":   "<!-- not run:  -->\n    kubectl get x\n",
		"with another mark":  "<!-- end -->\n    kubectl get x\n",
		"after another line": "<!-- output -->\n\n    kubectl get x\n",
	} {
		got := blocks(page)
		if len(got) != 1 || !strings.Contains(got[0].text, "kubectl get x") {
			t.Errorf("%s: found %+v, want the one block", form, got)
		} else if unproven("page.md", got[0]) == "" {
			t.Errorf("%s: accepted", form)
		}
	}
	for _, mark := range []string{"<!-- scenario: a/b -->", "<!-- not run: it needs kind -->", "<!-- output -->"} {
		if got := blocks(mark + "\n    kubectl get x\n"); len(got) != 1 || unproven("page.md", got[0]) != "" {
			t.Errorf("%s: rejected, or no block: %+v", mark, got)
		}
	}
}

// TestScenarios_AreQuoted: no excerpt without a page that quotes it. A file that a page quotes is one that its scenario uses, so that
// it is tested.
func TestScenarios_AreQuoted(t *testing.T) {
	quoted := map[string]bool{}
	for _, page := range pages(t) {
		for line := range strings.Lines(page) {
			if place := excerptMark.FindStringSubmatch(strings.TrimSpace(line)); place != nil {
				quoted[place[1]+"/"+place[2]] = true
			}
		}
	}
	paths, err := filepath.Glob(filepath.Join(root, "test", "scenarios", "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimLeft(strings.TrimSuffix(filepath.Base(path), ".txtar"), "0123456789-")
		script, _, _ := strings.Cut(string(content), "\n-- ")
		for line := range strings.Lines(script) {
			if excerpt, is := strings.CutPrefix(strings.TrimSpace(line), "# excerpt: "); is && !quoted[name+"/"+excerpt] {
				t.Errorf("%s: no page quotes the excerpt %s", path, excerpt)
			}
		}
		for place := range quoted {
			file, is := strings.CutPrefix(place, name+"/")
			if is && strings.Contains(file, ".") && !slices.ContainsFunc(strings.Fields(script), func(word string) bool { return strings.TrimPrefix(word, "../") == file }) {
				t.Errorf("%s: a page quotes %s, which the scenario does not use", path, file)
			}
		}
	}
}
