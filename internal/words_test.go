// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// banned are words that make a reader ask who or what is meant, with what to write instead. Package names, identifiers and API names are not
// words of a sentence: rules for those are elsewhere.
var banned = map[string]string{
	`nobody`:                            "name the actor: no client, no user, no verifier",
	`somebody|someone|anybody`:          "name the actor: a user, a client, another writer",
	`whoever`:                           "name the actor: a user with the verb use, clients that …",
	`another owner's|other people's`:    "foreign, or owned by another object",
	`(is|are|was|were) told`:            "the operator reports, a message says",
	`says whether`:                      "reports whether",
	`outrun|outran`:                     "the write conflicts",
	`rivals?`:                           "another instance",
	`lingering`:                         "still valid, or previous",
	`the one before`:                    "the previous one",
	`comes? to rest|came to rest`:       "converges",
	`comes? to nothing|came to nothing`: "fails",
	`scrub(s|bed)?`:                     "redact",
	`turned away`:                       "rejected",
	`(gets?|got) deader`:                "is revoked or expires earlier",
	`recognise[ds]?|behaviour|colour`:   "American spelling",
}

// TestWords_SayWhoDoesWhat: pages, manifests, scripts and code have none of these words. This file has all of them.
func TestWords_SayWhoDoesWhat(t *testing.T) {
	texts := pages(t)
	for path := range sources(t) {
		if filepath.Base(path) != "words_test.go" {
			texts[path] = read(t, path)
		}
	}
	for _, folder := range []string{"config", "charts", "hack"} {
		for path, content := range writtenFiles(t, folder) {
			texts[path] = content
		}
	}
	if len(texts) < 400 {
		t.Fatalf("only %d files were found", len(texts))
	}
	for words, instead := range banned {
		pattern := regexp.MustCompile(`(?i)\b(` + words + `)\b`)
		for path, text := range texts {
			for i, line := range strings.Split(text, "\n") {
				if found := pattern.FindString(line); found != "" {
					t.Errorf("%s:%d has %q: write %s", path, i+1, found, instead)
				}
			}
		}
	}
}

// writtenFiles returns the manifests and scripts below a folder, by their paths. Test data stands for what others write.
func writtenFiles(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "testdata" {
			return filepath.SkipDir
		}
		switch filepath.Ext(path) {
		case ".yaml", ".sh", ".toml", ".conf", ".lua":
			content, err := os.ReadFile(path)
			found[path] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
