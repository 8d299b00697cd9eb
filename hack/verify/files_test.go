// SPDX-License-Identifier: Apache-2.0

// Package verify tests the scripts that 'make verify' runs.
package verify

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFiles_RejectsBuiltFiles adds one file at a time to a scratch repository.
func TestFiles_RejectsBuiltFiles(t *testing.T) {
	const limit = 1 << 20
	for name, test := range map[string]struct {
		path, content string
		executable    bool
		want          string // in the message; empty if the file is accepted
	}{
		"text":                      {"a/text.txt", "hello\n", false, ""},
		"empty":                     {"empty", "", false, ""},
		"script":                    {"run.sh", "#!/bin/sh\n", true, ""},
		"long script":               {"long.sh", "#!/bin/sh\n" + strings.Repeat("# long\n", 100_000), true, ""},
		"at the limit":              {"at.txt", strings.Repeat("x", limit), false, ""},
		"over the limit":            {"over.txt", strings.Repeat("x", limit+1), false, "has 1048577 bytes"},
		"script over the limit":     {"over.sh", "#!/bin/sh\n" + strings.Repeat("x", limit), true, "has 1048586 bytes"},
		"executable text":           {"notes.txt", "hello\n", true, "is executable and no script"},
		"empty executable":          {"touched", "", true, "is executable and no script"},
		"ELF":                       {"demo", "\x7fELF\x02\x01\x01\x00", true, "is a compiled program"},
		"ELF that is no executable": {"demo", "\x7fELF\x02\x01\x01\x00", false, "is a compiled program"},
		"Mach-O":                    {"demo", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01", false, "is a compiled program"},
		"universal Mach-O":          {"demo", "\xca\xfe\xba\xbe\x00\x00\x00\x02", false, "is a compiled program"},
		"Windows":                   {"demo.exe", "MZ\x90\x00\x03\x00", false, "is a compiled program"},
		"text that begins with MZ":  {"names.txt", "MZab\n", false, ""},
		"WebAssembly":               {"demo.wasm", "\x00asm\x01\x00\x00\x00", false, "is a compiled program"},
		"archive of a compiler":     {"lib.a", "!<arch>\n", false, "is a compiled program"},
		"name with white space":     {"a\tb\nc d", "\x7fELF", false, `a\tb\nc d`},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			git(t, folder, "init", "-q")
			write(t, filepath.Join(folder, test.path), test.content, test.executable)
			git(t, folder, "add", "-A")
			check(t, folder, test.want)
		})
	}
}

// TestFiles_ReadsTheIndex: what is not tracked, links and submodules are left alone.
func TestFiles_ReadsTheIndex(t *testing.T) {
	folder, other := t.TempDir(), t.TempDir()
	write(t, filepath.Join(other, "demo"), "\x7fELF", true)
	git(t, folder, "init", "-q")
	if err := os.Symlink(filepath.Join(other, "demo"), filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	git(t, folder, "add", "-A")
	git(t, folder, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	write(t, filepath.Join(folder, "untracked"), "\x7fELF", true)
	check(t, folder, "")
	git(t, folder, "add", "untracked")
	check(t, folder, "untracked: is a compiled program")
}

// TestVerify_ChecksTrackedFiles: the script is of no use if 'make verify' does not run it.
func TestVerify_ChecksTrackedFiles(t *testing.T) {
	content, err := os.ReadFile("verify.sh")
	if err != nil {
		t.Fatal(err)
	}
	if line := "\nhack/verify/files.sh . || failed=1\n"; !strings.Contains(string(content), line) {
		t.Errorf("verify.sh does not run %q", strings.TrimSpace(line))
	}
}

func check(t *testing.T, folder, want string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "./files.sh", folder).CombinedOutput()
	if want == "" && (err != nil || len(out) > 0) {
		t.Errorf("%v: %s; want it accepted in silence", err, out)
	}
	if want != "" && (err == nil || !strings.Contains(string(out), want)) {
		t.Errorf("%v: %s; want it rejected with %q", err, out, want)
	}
}

func write(t *testing.T, path, content string, executable bool) {
	t.Helper()
	mode := os.FileMode(0o600)
	if executable {
		mode = 0o700
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func git(t *testing.T, folder string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", args...)
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
