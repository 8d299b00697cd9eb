// SPDX-License-Identifier: Apache-2.0

// Command plugin packs kubectl-dgbot for several platforms, and writes the manifest by which Krew, the package manager of kubectl,
// installs it. The same sources give the same archives. `make plugin` calls it.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"

	"dgbot.io/key-operator/hack/progress"
	"dgbot.io/key-operator/internal/scratch"
)

//go:embed krew.yaml.tmpl
var manifestText string

var manifestTemplate = template.Must(template.New("manifest").Parse(manifestText))

// manifest is what Krew reads.
type manifest struct {
	Version   string
	Platforms []platform
}

type platform struct {
	OS, Arch, Binary, URI, SHA256 string
}

func main() {
	version := flag.String("version", "", "version of the release, such as v0.1.0")
	url := flag.String("url", "", "where the archives will be, such as https://example.com/releases/v0.1.0")
	out := flag.String("out", "dist", "folder for the archives and the manifest")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64", "what to build for")
	flag.Parse()
	if err := run(context.Background(), *version, *url, *out, strings.Split(*platforms, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "plugin:", err)
		os.Exit(1)
	}
}

// versions are those that Krew takes.
var versions = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func run(ctx context.Context, version, url, out string, platforms []string) error {
	switch {
	case !versions.MatchString(version):
		return fmt.Errorf("VERSION is %q: want one such as v0.1.0", version)
	case !strings.HasPrefix(url, "https://"):
		return fmt.Errorf("URL is %q: want https://…, where the archives will be", url)
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	m := manifest{Version: version}
	for _, name := range platforms {
		goos, arch, ok := strings.Cut(name, "/")
		if !ok {
			return fmt.Errorf("platform %q: want one such as linux/amd64", name)
		}
		var p *platform
		err := progress.Step("building kubectl-dgbot for "+name, func() (err error) {
			p, err = pack(ctx, version, goos, arch, out)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf("sha256:%s  %s\n", p.SHA256, filepath.Join(out, p.URI))
		p.URI = strings.TrimSuffix(url, "/") + "/" + p.URI
		m.Platforms = append(m.Platforms, *p)
	}
	var text bytes.Buffer
	if err := manifestTemplate.Execute(&text, m); err != nil {
		return err
	}
	path := filepath.Join(out, "dgbot.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return err
	}
	fmt.Printf("sha256:%x  %s\n", sha256.Sum256(text.Bytes()), path)
	return nil
}

// pack builds for one platform and writes the archive. Its URI is the name of it.
func pack(ctx context.Context, version, goos, arch, out string) (*platform, error) {
	p := &platform{OS: goos, Arch: arch, Binary: "kubectl-dgbot", URI: fmt.Sprintf("kubectl-dgbot_%s_%s.tar.gz", goos, arch)}
	if goos == "windows" {
		p.Binary += ".exe"
	}
	folder, err := scratch.Folder("dgbot-plugin-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	flags := "-ldflags=-s -w -X dgbot.io/key-operator/internal/version.value=" + version
	//nolint:gosec // version and platform are checked, and those of the person who releases
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", flags, "-o", filepath.Join(folder, p.Binary), "./cmd/kubectl-dgbot")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch)
	if printed, err := build.CombinedOutput(); err != nil {
		return nil, scratch.Explain(fmt.Errorf("building: %w\n%s", err, printed))
	}
	var archive bytes.Buffer
	if err := tarball(&archive, folder, p.Binary); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(archive.Bytes())
	p.SHA256 = hex.EncodeToString(sum[:])
	return p, os.WriteFile(filepath.Join(out, p.URI), archive.Bytes(), 0o600)
}

// tarball packs the binary, and the LICENSE that Krew asks for. It does not show who built it, or when.
func tarball(into *bytes.Buffer, folder, binary string) error {
	zipped, err := gzip.NewWriterLevel(into, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	for _, file := range []struct {
		path, name string
		mode       int64
	}{{filepath.Join(folder, binary), binary, 0o755}, {"LICENSE", "LICENSE", 0o644}} {
		content, err := os.ReadFile(file.path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}
