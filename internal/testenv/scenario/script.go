// SPDX-License-Identifier: Apache-2.0

// Package scenario plays the scripts of test/scenarios: what a user types, what must come out, and the words between. The demo shows them,
// a suite tests them, and the pages of docs quote their commands, so that each command in docs is one that ran.
package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// Script is a file of test/scenarios.
type Script struct {
	// Name is the file's, without its number and extension.
	Name string
	// Number is that of the demo's chapter; 0 if the script is none.
	Number int
	// Title is the first line.
	Title string
	// Checks is how many lines can fail.
	Checks int
	// Path is that of the file.
	Path string

	lines []string
	files []txtar.File
}

var fileName = regexp.MustCompile(`^(?:([0-9]{2})-)?([a-z-]+)\.txtar$`)

// Load reads the scripts of a folder: the chapters of the demo in their order, then the others by name.
func Load(folder string) ([]Script, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no scenario in %s", folder)
	}
	var scripts []Script
	for _, path := range paths {
		script, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", path, err)
		}
		scripts = append(scripts, script)
	}
	return scripts, nil
}

func read(path string) (Script, error) {
	named := fileName.FindStringSubmatch(filepath.Base(path))
	if named == nil {
		return Script{}, fmt.Errorf("its name is not of the form %s", fileName)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return Script{}, err
	}
	archive := txtar.Parse(content)
	script := Script{Name: named[2], Path: path, lines: strings.Split(string(archive.Comment), "\n"), files: archive.Files}
	if named[1] != "" {
		if _, err := fmt.Sscanf(named[1], "%d", &script.Number); err != nil {
			return Script{}, err
		}
	}
	title, is := strings.CutPrefix(script.lines[0], "# ")
	if !is {
		return Script{}, fmt.Errorf("its first line is no title: it begins with %q", "# ")
	}
	script.Title = title
	for _, line := range script.lines {
		if checks(line) {
			script.Checks++
		}
	}
	return script, nil
}

// checks reports whether a line of a script can fail.
func checks(line string) bool {
	line = strings.TrimSpace(line)
	return line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "say ") && !strings.HasPrefix(line, "now ")
}
