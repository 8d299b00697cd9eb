// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// krew is what Krew reads of the manifest.
type krew struct {
	APIVersion, Kind string
	Metadata         struct{ Name string }
	Spec             struct {
		Version, ShortDescription string
		Platforms                 []struct {
			Selector         struct{ MatchLabels map[string]string }
			URI, SHA256, Bin string
		}
	}
}

// printed returns what do writes to standard output.
func printed(t *testing.T, do func() error) string {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = writer
	failed := do()
	os.Stdout = stdout
	if err := errors.Join(failed, writer.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestTheArchiveIsWhatTheManifestSays for this machine: it has the sum, the plugin runs, and packing again gives the same.
func TestTheArchiveIsWhatTheManifestSays(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	here := runtime.GOOS + "/" + runtime.GOARCH
	var sums []string
	var folder string
	for range 2 {
		folder = t.TempDir()
		said := printed(t, func() error { return run(t.Context(), "v0.1.0", "https://example.com/v0.1.0/", folder, []string{here}) })
		text, err := os.ReadFile(filepath.Join(folder, "dgbot.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("sha256:%x  %s\n", sha256.Sum256(text), filepath.Join(folder, "dgbot.yaml")); !strings.HasSuffix(said, want) || strings.Count(said, "\n") != 2 {
			t.Errorf("it prints\n%swant an archive, and %s", said, want)
		}
		var m krew
		if err := yaml.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind != "Plugin" || m.Metadata.Name != "dgbot" || m.Spec.Version != "v0.1.0" || len(m.Spec.Platforms) != 1 || len(m.Spec.ShortDescription) > 50 {
			t.Fatalf("%s", text)
		}
		p := m.Spec.Platforms[0]
		if p.URI != fmt.Sprintf("https://example.com/v0.1.0/kubectl-dgbot_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH) || p.Selector.MatchLabels["os"] != runtime.GOOS {
			t.Errorf("%+v", p)
		}
		archive, err := os.ReadFile(filepath.Join(folder, filepath.Base(p.URI)))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(archive)) != p.SHA256 {
			t.Errorf("the sum is not %s (%v)", p.SHA256, err)
		}
		sums = append(sums, p.SHA256)
		unpack(t, archive, folder)
	}
	if sums[0] != sums[1] {
		t.Error("the same sources give another archive")
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(folder, "kubectl-dgbot"), "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "compromise") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(folder, "kubectl-dgbot"), "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "kubectl-dgbot v0.1.0 ") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(folder, "LICENSE")); err != nil {
		t.Error(err)
	}
}

func unpack(t *testing.T, archive []byte, folder string) {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(unzipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(header.Name)), content, header.FileInfo().Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeReleased(t *testing.T) {
	for _, tc := range []struct{ version, url, platform, want string }{
		{"", "https://example.com", "linux/amd64", "VERSION"},
		{"1.0", "https://example.com", "linux/amd64", "VERSION"},
		{"v1.0.0", "http://example.com", "linux/amd64", "URL"},
		{"v1.0.0", "https://example.com", "linux", "platform"},
	} {
		if err := run(t.Context(), tc.version, tc.url, t.TempDir(), []string{tc.platform}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
