// SPDX-License-Identifier: Apache-2.0

// Command excerpts writes parts of scenarios into pages: between "<!-- scenario: NAME/EXCERPT -->" and "<!-- end -->" it puts what
// scenario NAME has as that excerpt, so that what a page tells readers to type is what ran. `make generate` calls it with the pages.
package main

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"

	"dgbot.io/key-operator/internal/testenv/scenario"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "excerpts:", err)
		os.Exit(1)
	}
}

func run(pages []string) error {
	all, err := scenario.Load("test/scenarios")
	if err != nil {
		return err
	}
	scripts := map[string]scenario.Script{}
	for _, script := range all {
		scripts[script.Name] = script
	}
	for _, page := range pages {
		content, err := os.ReadFile(page) //nolint:gosec // named on the command line
		if err != nil {
			return err
		}
		filled, err := fill(string(content), scripts)
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		if filled == string(content) {
			continue
		}
		if err := os.WriteFile(page, []byte(filled), 0o644); err != nil { //nolint:gosec // a page that all may read
			return err
		}
	}
	return nil
}

var place = regexp.MustCompile(`(?ms)^( *)(<!-- scenario: ([a-z-]+)/([a-z.-]+) -->\n).*?(<!-- end -->\n)`)

// fill returns a page with its excerpts as they are in the scripts. In a list, a place is indented, and its excerpt with it.
func fill(page string, scripts map[string]scenario.Script) (filled string, err error) {
	filled = place.ReplaceAllStringFunc(page, func(found string) string {
		parts := place.FindStringSubmatch(found)
		indent := parts[1]
		script, exists := scripts[parts[3]]
		if !exists {
			err = fmt.Errorf("there is no scenario %q", parts[3])
			return found
		}
		excerpt, cause := script.Excerpt(parts[4])
		if cause != nil {
			err = cause
			return found
		}
		language := strings.TrimPrefix(path.Ext(parts[4]), ".")
		if language == "" {
			language = "sh"
		}
		var block strings.Builder
		block.WriteString(indent + parts[2])
		for line := range strings.Lines("```" + language + "\n" + strings.TrimRight(excerpt, "\n") + "\n```\n" + parts[5]) {
			if line != "\n" {
				line = indent + line
			}
			block.WriteString(line)
		}
		return block.String()
	})
	return filled, err
}
