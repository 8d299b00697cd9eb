// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type source struct {
	set    *token.FileSet
	syntax *ast.File
	lines  int
}

// sources parses the module's own files, generated ones aside.
func sources(t *testing.T) map[string]source {
	t.Helper()
	files := map[string]source{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(path, relative, entry)
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil || ast.IsGenerated(syntax) {
			return err
		}
		files[filepath.ToSlash(relative)] = source{set, syntax, set.File(syntax.Pos()).LineCount()}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files found under %s", len(files), root)
	}
	return files
}

// skipFolder leaves out what is no part of the module: other modules, what was built, hidden folders.
func skipFolder(path, relative string, entry fs.DirEntry) error {
	if relative == "." {
		return nil
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	if err == nil || relative == "bin" || strings.HasPrefix(entry.Name(), ".") {
		return fs.SkipDir
	}
	return nil
}
