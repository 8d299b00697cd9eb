// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// managerMetrics are the files that declare the metrics of the manager.
var managerMetrics = []string{
	"controllers/apikeys/metrics.go", "controllers/chatbots/metrics.go", "controllers/records/metrics.go", "controllers/internal/write/metrics.go",
	"controllers/objectmetrics/keys.go", "controllers/objectmetrics/chatbots.go", "controllers/internal/verifiers/metrics.go",
}

// TestTheOperationsPageIsComplete: every reason, metric and flag stands in docs/operations.md.
func TestTheOperationsPageIsComplete(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := sources(t)
	words := map[string]int{}
	finders := map[string]func(*ast.File) []string{"api/v1alpha1/conditions.go": constants, "cmd/manager/main.go": flagNames}
	for _, file := range managerMetrics {
		finders[file] = metricNames
	}
	for file, find := range finders {
		source, ok := files[file]
		if !ok {
			t.Fatalf("%s is gone: this test looks at nothing", file)
		}
		for _, word := range find(source.syntax) {
			words[file]++
			if !strings.Contains(string(page), "`"+word+"`") && !strings.Contains(string(page), "`"+word+"{") && !strings.Contains(string(page), word+" ") {
				t.Errorf("docs/operations.md does not mention %s", word)
			}
		}
		if words[file] < 1 {
			t.Errorf("only %d words found in %s", words[file], file)
		}
	}
}

// rejections are the metrics of the verifier whose label reason docs/verifier.md lists, with the variable that holds the list.
var rejections = map[string]string{
	"dgbot_verifier_refusals_total{reason}": "KeyReasons", "dgbot_verifier_identity_refusals_total{reason}": "IdentityReasons",
}

// TestVerifierPage_ListsTheReasonsOfRejections compares the page with the lists in the code.
func TestVerifierPage_ListsTheReasonsOfRejections(t *testing.T) {
	const file = "internal/verify/index/check.go"
	source := sources(t)[file].syntax
	for metric, list := range rejections {
		var want []string
		for _, name := range elements(source, list) {
			want = append(want, "`"+strings.ToLower(name)+"`")
		}
		for _, line := range strings.Split(read(t, "docs", "verifier.md"), "\n") {
			meaning, ok := strings.CutPrefix(line, "| `"+metric+"` | ")
			if !ok {
				continue
			}
			slices.Sort(want)
			if got := regexp.MustCompile("`[a-z]+`").FindAllString(strings.ReplaceAll(meaning, "`kid`", ""), -1); len(want) == 0 || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
				t.Errorf("docs/verifier.md lists %v for %s, and %s is %v", got, metric, list, want)
			}
			want = nil
		}
		if want != nil {
			t.Errorf("docs/verifier.md does not list %v for %s", want, metric)
		}
	}
}

// elements returns the names in a variable that holds a list of constants.
func elements(file *ast.File, variable string) (names []string) {
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != variable || len(spec.Values) != 1 {
			return true
		}
		if list, ok := spec.Values[0].(*ast.CompositeLit); ok {
			for _, element := range list.Elts {
				if name, ok := element.(*ast.Ident); ok {
					names = append(names, name.Name)
				}
			}
		}
		return true
	})
	return names
}

// path finds the names of files and folders of this repository in a page.
var path = regexp.MustCompile("`((?:api|charts|cmd|config|controllers|docs|hack|internal|test)/[a-z0-9_./-]+)`")

// TestArchitecture_NamesWhatExists: a table that sends readers to a file that moved is worse than none.
func TestArchitecture_NamesWhatExists(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "design", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := path.FindAllStringSubmatch(string(page), -1)
	for _, found := range named {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(found[1]))); err != nil {
			t.Errorf("docs/design/architecture.md names %s: %v", found[1], err)
		}
	}
	if len(named) < 30 {
		t.Errorf("found %d names of files", len(named))
	}
}

// constants are the values of string constants.
func constants(file *ast.File) []string {
	var values []string
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok {
			for _, value := range spec.Values {
				values = append(values, text(value)...)
			}
		}
		return true
	})
	return values
}

// metricNames are the strings that have the form of a metric's name.
func metricNames(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, ok := node.(*ast.BasicLit); ok {
			for _, value := range text(literal) {
				if metricName.MatchString(value) {
					names = append(names, value)
				}
			}
		}
		return true
	})
	return names
}

var metricName = regexp.MustCompile(`^dgbot_[a-z_]+$`)

// flagNames are the second arguments of flags.…Var.
func flagNames(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !strings.HasSuffix(method.Sel.Name, "Var") {
			return true
		}
		for _, name := range text(call.Args[1]) {
			names = append(names, "--"+name)
		}
		return true
	})
	return names
}

func text(expression ast.Expr) []string {
	literal, ok := expression.(*ast.BasicLit)
	if !ok {
		return nil
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return nil
	}
	return []string{value}
}

// link finds the targets of links in a page. Regular expressions in a page have brackets as well, and other characters in them.
var (
	link    = regexp.MustCompile(`\]\(([A-Za-z0-9_./#:-]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	code    = regexp.MustCompile("(?s)```.*?```")
)

// pages are the pages for people, by their paths.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "charts/*/*.md", "config/*/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.Clean(path)] = string(content)
		}
	}
	if len(found) < 25 {
		t.Fatalf("only %d pages were found", len(found))
	}
	return found
}

// TestPages_LinkToWhatExists: every link within the repository names a file, and a heading of it.
func TestPages_LinkToWhatExists(t *testing.T) {
	all := pages(t)
	for page, content := range all {
		for _, match := range link.FindAllStringSubmatch(content, -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			name, anchor, hasAnchor := strings.Cut(match[1], "#")
			target := page
			if name != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(name))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			} else if hasAnchor && !slices.Contains(anchors(all[filepath.Clean(target)]), anchor) {
				t.Errorf("%s links to %s: that page has no such heading", page, match[1])
			}
		}
	}
}

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(content string) (all []string) {
	for _, match := range heading.FindAllStringSubmatch(code.ReplaceAllString(content, ""), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])
		all = append(all, anchor)
	}
	return all
}

// TestIndex_ListsEveryPage: a page that no index names is found by accident only.
func TestIndex_ListsEveryPage(t *testing.T) {
	index := read(t, "docs", "README.md")
	for page := range pages(t) {
		if name, ok := strings.CutPrefix(filepath.ToSlash(page), root+"/docs/"); ok && name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}

// comment is what readers of a page do not see.
var comment = regexp.MustCompile(`<!--.*?-->`)

// TestREADME_IsShort: it is read before anything is known, so it has to stay short.
func TestREADME_IsShort(t *testing.T) {
	if words := len(strings.Fields(comment.ReplaceAllString(read(t, "README.md"), ""))); words >= 1000 {
		t.Errorf("README.md has %d words, at most 999: move what few newcomers need to docs", words)
	}
}
