// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/session"
)

// scanOf scans a file with some content, offline, and returns the result.
func scanOf(t *testing.T, name, content string, args ...string) (result scanReport, said string, code int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	out, said, code := call(t, "", append([]string{"scan", path, "--offline", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v: %q, %q", err, out, said)
	}
	for i := range result.Leaks {
		result.Leaks[i].Path = strings.TrimPrefix(result.Leaks[i].Path, filepath.Dir(path)+"/")
	}
	for i := range result.NotSearched {
		result.NotSearched[i].Path = strings.TrimPrefix(result.NotSearched[i].Path, filepath.Dir(path)+"/")
	}
	return result, said, code
}

func gzipped(content string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return out.String()
}

func deflated(content string) string {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return out.String()
}

func tarOf(name, content string) string {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))})
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return out.String()
}

func zipOf(name, content string) string {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	file, _ := w.Create(name)
	_, _ = file.Write([]byte(content))
	_ = w.Close()
	return out.String()
}

// TestScan_SearchesArchives of the formats that the standard library reads, and in each other.
func TestScan_SearchesArchives(t *testing.T) {
	key := clitest.Mint(t, "production")
	env := "PORT=80\nKEY=" + key + "\n"
	for name, tc := range map[string]struct{ content, path string }{
		"a.gz":      {gzipped(env), "a.gz"},
		"a.zlib":    {deflated(env), "a.zlib"},
		"a.tar":     {tarOf("app/.env", env), "a.tar!app/.env"},
		"a.tar.gz":  {gzipped(tarOf("app/.env", env)), "a.tar.gz!app/.env"},
		"a.zip":     {zipOf("app/.env", env), "a.zip!app/.env"},
		"a.zip.gz":  {gzipped(zipOf("app/.env", env)), "a.zip.gz!app/.env"},
		"a.war":     {zipOf("lib/a.jar", zipOf("config", env)), "a.war!lib/a.jar!config"},
		"image.tar": {tarOf("layer.tar.gz", gzipped(tarOf(".env", env))), "image.tar!layer.tar.gz!.env"},
		"twice.gz":  {gzipped("nothing\n") + gzipped(env), "twice.gz"},
	} {
		result, said, code := scanOf(t, name, tc.content)
		if code != exit.CodeNo || len(result.Leaks) != 1 || result.Leaks[0].Path != tc.path || len(result.NotSearched) > 0 {
			t.Errorf("%s: exit code %d, %+v, %s", name, code, result, said)
		}
		if strings.Contains(said, key) {
			t.Errorf("%s: the key is shown", name)
		}
		// Standard input can only be read from the front.
		if out, said, code := call(t, tc.content, "scan", "-", "--offline"); code != exit.CodeNo || !strings.Contains(out, "<stdin>") {
			t.Errorf("%s on standard input: exit code %d, %s%s", name, code, out, said)
		}
	}
}

// notSearched are files that are not searched as a whole, with why.
var notSearched = map[string]struct{ content, reason string }{
	"a.xz":        {"\xfd7zXZ\x00\x00\x04", "xz: unpack it"},
	"a.zst":       {"\x28\xb5\x2f\xfd\x04\x00", "zstd: unpack it"},
	"skip.zst":    {"\x50\x2a\x4d\x18\x00\x00\x00\x00", "zstd: unpack it"},
	"a.7z":        {"7z\xbc\xaf\x27\x1c\x00\x04", "7z: unpack it"},
	"a.rar":       {"Rar!\x1a\x07\x01\x00", "rar: unpack it"},
	"a.lz4":       {"\x04\x22\x4d\x18\x64\x40", "lz4: unpack it"},
	"a.deb":       {"!<arch>\ndebian-binary   ", "Debian package: unpack it"},
	"a.pack":      {"PACK\x00\x00\x00\x02", "Git pack: run 'git log -p -m --text --all' in its repository"},
	"a.bundle":    {"# v2 git bundle\n", "Git pack: run 'git log"},
	"a.lzma":      {"\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x18", "lzma: unpack it"},
	"sized.lzma":  {"\x5d\x00\x00\x00\x04\x10\x27\x00\x00\x00\x00\x00\x00\x00\x18", "lzma: unpack it"},
	"a.lzo":       {"\x89LZO\x00\r\n\x1a\n\x10", "lzop: unpack it"},
	"a.sz":        {"\xff\x06\x00\x00sNaPpY\x00", "snappy: unpack it"},
	"a.js.br":     {"\x1b\x0a\x00\xf8", "brotli: unpack it"},
	"a.cab":       {"MSCF\x00\x00\x00\x00\x2c\x01", "Cabinet: unpack it"},
	"a.wim":       {"MSWIM\x00\x00\x00\xd0", "Windows image: unpack it"},
	"a.pkg":       {"xar!\x00\x1c\x00\x01", "xar: unpack it"},
	"a.snap":      {"hsqs\x07\x00\x00\x00", "squashfs: unpack it"},
	"a.cramfs":    {"\x45\x3d\xcd\x28\x00\x10", "cramfs: unpack it"},
	"a.pdf":       {"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF: its text is compressed: convert it to text"},
	"marked.pdf":  {"\ufeff\r\n%PDF-1.4\n", "PDF: its text is compressed"},
	"broken.zip":  {"PK\x03\x04 and no more", "zip: "},
	"broken.bz2":  {"BZh91AY&SY and no more", "bzip2 data invalid"},
	"cut.gz":      {gzipped(strings.Repeat("0123456789", 1000))[:40], "unexpected EOF"},
	"cut.tar":     {tarOf("a", strings.Repeat("0123456789", 1000))[:2000], "unexpected EOF"},
	"locked.zip":  {encrypted(zipOf("a", "0123456789")), "it is encrypted"},
	"deep.gz":     {gzipped(gzipped(gzipped(gzipped(gzipped("x"))))), "in more than 4 others"},
	"bomb.gz":     {gzipped(strings.Repeat("0", 2<<20)), "it expands to more than --max-size"},
	"bomb.zip":    {zipOf("a", strings.Repeat("0", 2<<20)), "it expands to more than --max-size"},
	"bomb.tar.gz": {gzipped(tarOf("a", strings.Repeat("0", 2<<20)) + "\n"), "it expands to more than --max-size"},
	"large":       {strings.Repeat("0123456789\n", 100_000), "it is not smaller than 1Mi (--max-size)"},
}

// encrypted sets the bit that says so, in the file's header and in the table of contents.
func encrypted(archive string) string {
	content := []byte(archive)
	for signature, at := range map[string]int{"PK\x03\x04": 6, "PK\x01\x02": 8} {
		content[strings.Index(archive, signature)+at] |= isEncrypted
	}
	return string(content)
}

// TestScan_ReportsWhatIsNotSearched on standard error, in its answer and by its exit code.
func TestScan_ReportsWhatIsNotSearched(t *testing.T) {
	for name, tc := range notSearched {
		result, said, code := scanOf(t, name, tc.content, "--max-size=1Mi")
		if code != exit.CodeFailed || len(result.NotSearched) == 0 || !strings.Contains(result.NotSearched[0].Reason, tc.reason) ||
			!strings.HasPrefix(result.NotSearched[0].Path, name) || !strings.Contains(said, "not searched: ") || !strings.Contains(said, "not searched: see above") {
			t.Errorf("%s: exit code %d, %+v\n%s", name, code, result, said)
		}
	}
	// What stands in it in plain text is found all the same, and that keys were found comes first.
	key := clitest.Mint(t, "production")
	result, said, code := scanOf(t, "a.xz", notSearched["a.xz"].content+" "+key+" ")
	if code != exit.CodeNo || len(result.Leaks) != 1 || len(result.NotSearched) != 1 || !strings.Contains(said, "not searched: ") {
		t.Errorf("exit code %d, %+v\n%s", code, result, said)
	}
	// What a bomb holds before the bound is found.
	result, _, code = scanOf(t, "bomb.gz", gzipped(key+strings.Repeat(" 0", 2<<20)), "--max-size=1Mi")
	if code != exit.CodeNo || len(result.Leaks) != 1 || len(result.NotSearched) != 1 {
		t.Errorf("exit code %d, %+v", code, result)
	}
	if _, said, code := call(t, "", "scan", t.TempDir(), "--offline"); code != 0 {
		t.Errorf("an empty folder: exit code %d, %s", code, said)
	}
}

// call runs kubectl dgbot with the verbs of this package, and returns what it writes and its exit code.
func call(t *testing.T, stdin string, args ...string) (out, said string, code int) {
	t.Helper()
	newCommand := func(streams genericiooptions.IOStreams) *cobra.Command { return session.NewRoot(streams, New) }
	return clitest.Call(t, newCommand, stdin, args...)
}
