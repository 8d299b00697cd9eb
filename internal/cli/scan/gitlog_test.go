// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/exit"
)

// gitIn returns how to run Git in a folder, without the settings of the machine.
func gitIn(t *testing.T, folder string) func(args ...string) string {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git on this machine")
	}
	return func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), git, args...)
		command.Dir = folder
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
}

// commitAndFile is the place of a key in a Git history.
type commitAndFile struct{ commit, file string }

// historyWithKeys returns how to run Git in a repository, and the places of the keys in its history by their IDs.
func historyWithKeys(t *testing.T) (run func(args ...string) string, want map[string]commitAndFile) {
	t.Helper()
	folder := t.TempDir()
	run, want = gitIn(t, folder), map[string]commitAndFile{}
	commit := func(name, format string) {
		t.Helper()
		key := clitest.Mint(t, "production")
		content := fmt.Sprintf(format, key)
		if name == "wrapped" {
			content = clitest.Wrapped(key, 30, "\n") + "\n"
		}
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		run("add", "-A")
		run("commit", "-q", "-m", "add "+name)
		want[strings.Split(key, "_")[2]] = commitAndFile{strings.TrimSpace(run("rev-parse", "HEAD")), name}
	}
	run("init", "-q", "-b", "main")
	commit("app/.env", "PORT=80\nKEY=%s\n")
	commit("with space/\u00fc.txt", "%s\n")
	commit("binary", "\x00\x01\x02%s\x00")
	commit("spoof", "++ b/elsewhere\n-- a/elsewhere\n@@ -1 +1 @@\n%s\n")
	commit("wrapped", "%s")
	// A key that only a merge brings in.
	run("checkout", "-q", "-b", "side", "HEAD~1")
	if err := os.WriteFile(filepath.Join(folder, "side"), []byte("side\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("add", "-A")
	run("commit", "-q", "-m", "side")
	run("checkout", "-q", "main")
	run("merge", "-q", "--no-ff", "--no-commit", "side")
	commit("merged", "%s\n")
	return run, want
}

// scanHistory returns where a scan of standard input finds keys, by their IDs.
func scanHistory(t *testing.T, history string) (places map[string][]commitAndFile, said string) {
	t.Helper()
	out, said, code := call(t, history, "scan", "-", "--offline", "-o", "json")
	var result scanReport
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exit.CodeNo {
		t.Fatalf("exit code %d, %v, %s", code, err, said)
	}
	places = map[string][]commitAndFile{}
	for _, l := range result.Leaks {
		places[l.KeyID] = append(places[l.KeyID], commitAndFile{l.Commit, l.File})
	}
	return places, said
}

// TestScan_NamesCommitAndFile of a Git history, as Git writes it.
func TestScan_NamesCommitAndFile(t *testing.T) {
	run, want := historyWithKeys(t)
	history := run("log", "-p", "-m", "--text", "--all")
	for name, text := range map[string]string{"as it is": history, "in UTF-16": clitest.UTF16(binary.LittleEndian, true, strings.ReplaceAll(history, "\x00", " ")), "CR LF": strings.ReplaceAll(history, "\n", "\r\n")} {
		got, _ := scanHistory(t, text)
		for id, w := range want {
			if !slices.Contains(got[id], w) {
				t.Errorf("%s: %+v is not found: %v", name, w, got[id])
			}
		}
	}
	table, _, _ := call(t, history, "scan", "-", "--offline")
	for _, w := range want {
		if place := "commit " + w.commit[:12] + " " + w.file + " (<stdin>:"; !strings.Contains(table, place) {
			t.Errorf("the table does not have %q:\n%s", place, table)
		}
	}
	// A file that was deleted has only its old path, and a diff has no commit.
	run("rm", "-q", "app/.env")
	out, _, _ := call(t, run("diff", "--text", "HEAD"), "scan", "-", "--offline")
	if !strings.Contains(out, " app/.env (<stdin>:") {
		t.Errorf("of a deleted file:\n%s", out)
	}
	// The documented command is this one.
	if help, _, _ := call(t, "", "scan", "--help"); !strings.Contains(help, "git log -p -m --text --all | kubectl dgbot scan -") {
		t.Errorf("the help has another command:\n%s", help)
	}
}

// TestScan_NamesCommitAndFileInOtherForms of git log, which users have in their settings.
func TestScan_NamesCommitAndFileInOtherForms(t *testing.T) {
	run, want := historyWithKeys(t)
	for _, form := range []string{
		"--oneline", "--graph", "--color=always", "--graph --oneline", "--graph --color=always", "--oneline --color=always", "--graph --oneline --color=always", "--abbrev-commit",
		"--graph --abbrev-commit --decorate", "--pretty=short", "--pretty=fuller", "--pretty=raw", "--pretty=email", "--pretty=reference", "--graph --pretty=reference",
		"--decorate --oneline --abbrev=4", "--stat --oneline", "--reverse", "-c", "--cc --oneline", "--no-prefix --graph", "--format=%H",
	} {
		args := append([]string{"log", "-p", "-m", "--text", "--all"}, strings.Fields(form)...)
		got, said := scanHistory(t, run(args...))
		for id, w := range want {
			if !slices.ContainsFunc(got[id], func(g commitAndFile) bool {
				return g.file == w.file && g.commit != "" && strings.HasPrefix(w.commit, g.commit)
			}) {
				t.Errorf("%s: %+v, want %+v", form, got[id], w)
			}
		}
		if strings.Contains(said, "note: ") {
			t.Errorf("%s: %s", form, said)
		}
	}
	// Where the form has no commit, the user learns which form has.
	for _, form := range []string{"--format=by %an", "--pretty=tformat:%s"} {
		if _, said := scanHistory(t, run("log", "-p", "-m", "--text", "--all", form)); !strings.Contains(said, "note: ") || !strings.Contains(said, "git log -p -m --text --all") {
			t.Errorf("%s: %s", form, said)
		}
	}
	run("tag", "-a", "-m", "first", "v1", "main~2")
	if got, _ := scanHistory(t, run("show", "--text", "v1")); len(got) != 1 {
		t.Errorf("a tag: %v", got)
	} else {
		for id, places := range got {
			if places[0] != want[id] {
				t.Errorf("a tag: %+v, want %+v", places, want[id])
			}
		}
	}
}
