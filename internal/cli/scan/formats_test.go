// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/exit"
)

// program is the begin of an executable, and longer than a part that a reader reads.
var program = "MZ\x90\x00" + strings.Repeat("\x00\x01code", 50_000)

// storedZip returns an archive whose only file is not compressed, with a comment.
func storedZip(t *testing.T, name, content, comment string) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	file, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write([]byte(content))
	if err := w.SetComment(comment); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestScan_SearchesAroundArchives what stands in front of an archive and behind it, each key once.
func TestScan_SearchesAroundArchives(t *testing.T) {
	key := clitest.Mint(t, "production")
	env := "KEY=" + key + "\n"
	var fast bytes.Buffer
	w, err := zlib.NewWriterLevel(&fast, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(env))
	_ = w.Close()
	levelThree := append([]byte("x^"), fast.Bytes()[2:]...)
	for name, tc := range map[string]struct{ content, path string }{
		"setup.exe":             {program + zipOf("app/.env", env), "setup.exe!app/.env"},
		"stored.exe":            {program + storedZip(t, "app/.env", env, ""), "stored.exe!app/.env"},
		"comment.exe":           {program + storedZip(t, "app/.env", env, strings.Repeat("x", 60_000)), "comment.exe!app/.env"},
		"app.jar":               {"#!/bin/sh\nexec java -jar \"$0\"\n" + zipOf("config", env), "app.jar!config"},
		"picture.gif":           {"GIF89a\x01\x00" + zipOf("a", env), "picture.gif!a"},
		"in front.zip":          {"#!/bin/sh\n# " + env + zipOf("a", "nothing"), "in front.zip"},
		"behind.zip":            {zipOf("a", "nothing") + env, "behind.zip"},
		"comment.zip":           {storedZip(t, "a", "nothing", env), "comment.zip"},
		"name.zip":              {zipOf(key, "nothing"), "name.zip"},
		"behind.zlib":           {deflated("nothing") + env, "behind.zlib"},
		"second.zlib":           {deflated("nothing") + deflated(env), "second.zlib"},
		"behind gzip.zlib":      {deflated("nothing") + gzipped(env), "behind gzip.zlib"},
		"level3.zlib":           {string(levelThree), "level3.zlib"},
		"text.md":               {"x^2 is no zlib\n" + env, "text.md"},
		"more than ASCII.md":    {"x^\u00fc" + strings.Repeat("\u00fc", 40) + env, "more than ASCII.md"},
		"behind.tar":            {tarOf("a", "nothing") + env, "behind.tar"},
		"no archive.txt":        {"x PK\x05\x06 " + env + strings.Repeat("PK\x05\x06\x00", 20), "no archive.txt"},
		"end of an archive.bin": {"\x00" + env + zipOf("a", "b")[60:80], "end of an archive.bin"},
	} {
		result, said, code := scanOf(t, name, tc.content)
		if code != exit.CodeNo || len(result.Leaks) != 1 || result.Leaks[0].Path != tc.path || len(result.NotSearched) > 0 {
			t.Errorf("%s: exit code %d, %+v, %s", name, code, result, said)
			continue
		}
		if at := result.Leaks[0].Offset; tc.path == name && strings.Contains(tc.content, key) && !strings.HasPrefix(tc.content[at:], key) && at == int64(strings.Index(tc.content, env)) {
			t.Errorf("%s: offset %d", name, at)
		}
	}
}

// sevenZip returns a header with a right checksum, as rar5 and xzHeader do.
func sevenZip() string {
	rest := strings.Repeat("\x00", 7) + "\x2a" + strings.Repeat("\x00", 12)
	return "7z\xbc\xaf\x27\x1c\x00\x04" + string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(rest)))) + rest
}

func rar5() string {
	const header = "\x0a\x01\x05\x06\x00\x05\x01\x01\x80\x80\x00"
	return "Rar!\x1a\x07\x01\x00" + string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(header)))) + header
}

func xzHeader() string {
	return "\xfd7zXZ\x00\x00\x04" + string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("\x00\x04"))))
}

// gapped are headers without a checksum. The gap keeps this program from having them as constants.
var gapped = map[string]string{
	"squashfs":         "hsqs|\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x00\x00\x01\x00\x11\x00\xc0\x00\x01\x00\x04\x00\x00\x00",
	"Cabinet":          "MSCF|\x00\x00\x00\x00\x40\x01\x00\x00\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x00",
	"old rar":          "Rar!|\x1a\x07\x00\xcf\x90\x73\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00",
	"Apple disk image": "koly|\x00\x00\x00\x04\x00\x00\x02\x00\x00\x00\x00\x01" + strings.Repeat("\x00", 16) + "\x00\x00\x00\x00\x00\x00\x00\x04",
}

// embedded are archives that may stand behind a program or, where the name begins with "script", behind a script.
func embedded() map[string]string {
	all := map[string]string{
		"zip": zipOf("a", strings.Repeat("0123456789", 100)), "7z": sevenZip(), "rar": rar5(), "xz": xzHeader(),
		"script: gzip": gzipped("x"), "script: bzip2": "BZh91AY&SY\x00\x00", "script: zstd": "\x28\xb5\x2f\xfd\x04\x00", "script: lz4": "\x04\x22\x4d\x18\x64\x40", "script: xz": xzHeader(),
	}
	for name, header := range gapped {
		all[name] = strings.Replace(header, "|", "", 1)
	}
	return all
}

// TestScan_ReportsArchivesBehindPrograms and scripts where it cannot search them: in an archive, and on standard input.
func TestScan_ReportsArchivesBehindPrograms(t *testing.T) {
	for name, content := range embedded() {
		begin := program
		if strings.HasPrefix(name, "script") {
			begin = "#!/bin/sh\ntail -n +3 \"$0\" | tar x\nexit\n"
		}
		format := name[strings.LastIndexByte(name, ' ')+1:]
		if format == "image" {
			format = name
		}
		all := begin + content + strings.Repeat("\x00\x02", 100)
		if format == "zip" {
			all = begin + content
		}
		reason := "it has an archive in it, " + format + ": unpack it, and scan what is in it"
		result, said, code := scanOf(t, "a.tar", tarOf("setup", all))
		if code != exit.CodeFailed || len(result.NotSearched) != 1 || result.NotSearched[0] != (omission{"a.tar!setup", reason}) {
			t.Errorf("%s in tar: exit code %d, %+v, %s", name, code, result, said)
		}
		if _, said, code := call(t, all, "scan", "-", "--offline"); code != exit.CodeFailed || strings.Count(said, "not searched: <stdin>: "+reason) != 1 {
			t.Errorf("%s on standard input: exit code %d, %s", name, code, said)
		}
		if format == "zip" {
			continue // as a file it is searched
		}
		if result, said, code := scanOf(t, "setup", all); code != exit.CodeFailed || len(result.NotSearched) != 1 || result.NotSearched[0] != (omission{"setup", reason}) {
			t.Errorf("%s in a file: exit code %d, %+v, %s", name, code, result, said)
		}
	}
}

// TestEmbeddedReader_FindsArchivesWhereverReadsEnd, also at the end of a file.
func TestEmbeddedReader_FindsArchivesWhereverReadsEnd(t *testing.T) {
	for name, content := range embedded() {
		for _, begin := range []string{"binary", "#!/bin/sh\n", "#!" + strings.Repeat("x", headerSize) + "\n", "#!" + strings.Repeat("x", 5*headerSize-3) + "\n"} {
			if begin == "binary" && strings.HasPrefix(name, "script") {
				continue
			}
			for _, in := range []io.Reader{
				strings.NewReader(begin + content), iotest.OneByteReader(strings.NewReader(begin + content)), iotest.HalfReader(strings.NewReader(begin + content)),
				iotest.DataErrReader(strings.NewReader(begin + content)),
			} {
				e := &embeddedReader{in: in}
				if _, err := io.Copy(io.Discard, e); err != nil || len(e.names) != 1 {
					t.Errorf("%s behind %d bytes: %v, %v", name, len(begin), e.names, err)
				}
			}
		}
	}
}

// TestEmbeddedReader_FindsNoConstants of programs that know the formats, such as this one, and nothing in Go's sources.
func TestEmbeddedReader_FindsNoConstants(t *testing.T) {
	look := func(path string) {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		e := &embeddedReader{in: file}
		if _, err := io.Copy(io.Discard, e); err != nil || len(e.names) > 0 {
			t.Errorf("%s: %v, %v", path, e.names, err)
		}
	}
	this, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	look(this)
	look(filepath.Join(runtime.GOROOT(), "bin", "go")) //nolint:staticcheck // the toolchain is there where the tests are built
	// A table in the form of a zip archive, as Go's time zones.
	table := &embeddedReader{in: strings.NewReader(program + storedZip(t, "UTC", "TZif2", "") + strings.Repeat("code", 1<<15))}
	if _, err := io.Copy(io.Discard, table); err != nil || len(table.names) > 0 {
		t.Errorf("%v, %v", table.names, err)
	}
	var constants strings.Builder
	for _, f := range embeddedFormats {
		constants.WriteString(f.magic + strings.Repeat("\x01", headerSize))
	}
	e := &embeddedReader{in: strings.NewReader(constants.String())}
	if _, err := io.Copy(io.Discard, e); err != nil || len(e.names) > 0 {
		t.Errorf("%v, %v", e.names, err)
	}
}

// TestScan_ReportsGitHistories of repositories and second work trees in a note with the command that searches them. The exit code is
// that of the files.
func TestScan_ReportsGitHistories(t *testing.T) {
	folder := t.TempDir()
	run := gitIn(t, folder)
	run("init", "-q", "with $space")
	repository := filepath.Join(folder, "with $space")
	if err := os.WriteFile(filepath.Join(repository, "a"), []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("-C", repository, "add", "-A")
	run("-C", repository, "commit", "-q", "-m", "a")
	run("-C", repository, "worktree", "add", "-q", filepath.Join(folder, "second"), "HEAD")
	for path, command := range map[string]string{
		repository:                        `git -C '` + folder + `/with $space' log -p -m --text --all | kubectl dgbot scan -`,
		filepath.Join(folder, "second"):   "git -C " + folder + "/second log -p -m --text --all | kubectl dgbot scan -",
		filepath.Join(repository, ".git"): "",
	} {
		out, said, code := call(t, "", "scan", path, "--offline", "-o", "json")
		var result scanReport
		if err := json.Unmarshal([]byte(out), &result); err != nil {
			t.Fatalf("%v: %s%s", err, out, said)
		}
		if command == "" {
			if code != 0 || len(result.NotSearched)+len(result.GitHistories) > 0 {
				t.Errorf("%s itself: exit code %d, %s", path, code, said)
			}
			continue
		}
		if code != 0 || len(result.NotSearched) > 0 || len(result.GitHistories) != 1 || !strings.HasSuffix(result.GitHistories[0].Reason, command) ||
			said != "note: not searched: "+path+"/.git: "+result.GitHistories[0].Reason+"\n" {
			t.Errorf("%s: exit code %d, %s", path, code, said)
		}
		if _, said, code := call(t, "", "scan", path, "--offline", "--skip-git"); code != 0 || strings.Contains(said, "not searched") {
			t.Errorf("%s without its history: exit code %d, %s", path, code, said)
		}
	}
	// Something else that is not searched, and a key that is found, change the exit code.
	for content, want := range map[string]int{notSearched["a.xz"].content: exit.CodeFailed, clitest.Mint(t, "production"): exit.CodeNo} {
		if err := os.WriteFile(filepath.Join(repository, "b"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, said, code := call(t, "", "scan", repository, "--offline"); code != want || !strings.Contains(said, "note: not searched: ") {
			t.Errorf("exit code %d, want %d: %s", code, want, said)
		}
	}
	// With a pack, the folder itself is not searched as a whole.
	run("-C", repository, "gc", "-q")
	if _, said, code := call(t, "", "scan", filepath.Join(repository, ".git"), "--offline"); code != exit.CodeFailed || !strings.Contains(said, "Git pack: run 'git log") {
		t.Errorf("exit code %d, %s", code, said)
	}
}
