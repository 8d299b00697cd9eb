// SPDX-License-Identifier: Apache-2.0

// Command chart writes the templates of charts/dgbot-key-operator from the kustomizations of config, which stay the only place
// where rights, policies and kinds are written down. Templates written by hand, beside config, were refused: they would part from it.
//
//	go run ./chart    # in hack/release; 'make generate' does
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const header = "# Generated from config by 'make generate': change it there.\n"

// extra is the template of the objects that values name.
const extra = `# Written by 'make generate'.
{{- range $.Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $ }}
{{- end }}
`

func main() {
	if err := run(filepath.Join("..", "..")); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(repository string) error {
	documents, err := collect(filepath.Join(repository, "config"))
	if err != nil {
		return err
	}
	files := map[string]*strings.Builder{}
	for i, document := range documents {
		text, err := document.template()
		if err != nil {
			return err
		}
		file := files[document.file]
		if file == nil {
			file = &strings.Builder{}
			files[document.file] = file
			file.WriteString(header)
		}
		// One "if" for all that follow one another and depend on the same.
		if i == 0 || !document.sameGuard(documents[i-1]) {
			file.WriteString(document.open())
		}
		file.WriteString(text)
		if i == len(documents)-1 || !document.sameGuard(documents[i+1]) {
			file.WriteString(document.close())
		}
	}
	objects := &strings.Builder{}
	objects.WriteString(extra)
	files["extra.yaml"] = objects
	return replace(filepath.Join(repository, "charts", "dgbot-key-operator", "templates"), files)
}

// replace writes the files, and removes those of an earlier run that are no longer written. All *.yaml there are generated.
func replace(folder string, files map[string]*strings.Builder) error {
	earlier, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range earlier {
		if files[filepath.Base(path)] == nil {
			err = errors.Join(err, os.Remove(path))
		}
	}
	for name, content := range files {
		path := filepath.Join(folder, name)
		err = errors.Join(err, os.WriteFile(path, []byte(content.String()), 0o644)) //nolint:gosec // it is a source file, as others
	}
	return err
}
