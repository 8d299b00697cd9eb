// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// host is this machine's platform, so that what was built can be run.
const host = "linux/" + runtime.GOARCH

// imageVersion is what the programs in the image print.
const imageVersion = "v1.2.3-rc.1+7"

// written builds the image and reads back what was written: the index that the layout names.
func written(t *testing.T, folder string) v1.ImageIndex {
	t.Helper()
	path, err := layout.FromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("not one index: %+v", manifest.Manifests)
	}
	index, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	return index
}

// images are those of an index, by platform.
func images(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]v1.Image{}
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if descriptor.MediaType != types.OCIManifestSchema1 || config.Platform().String() != descriptor.Platform.String() {
			t.Errorf("%s of %s holds an image of %s", descriptor.MediaType, descriptor.Platform, config.Platform())
		}
		all[descriptor.Platform.String()] = image
	}
	return all
}

// TestTheImageRuns, holds two static programs and nothing else, runs as the user without rights, and comes out the same each time.
func TestTheImageRuns(t *testing.T) {
	folder, again := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "image")
	var said string
	for _, out := range []string{again, folder, folder} {
		said = printed(t, func() error {
			return run(t.Context(), []string{"-platforms=" + host, "-version=" + imageVersion, "-out=" + out}, controlplane.Repository())
		})
	}
	first, err := written(t, folder).Digest()
	if err != nil {
		t.Fatal(err)
	}
	if want := first.String() + "  " + folder + "\n"; said != want {
		t.Errorf("it prints %q, want digest and path %q", said, want)
	}
	if second, err := written(t, again).Digest(); second != first {
		t.Errorf("%s and then %s, %v", first, second, err)
	}

	image := images(t, written(t, folder))[host]
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/manager"}) || len(config.Config.Cmd) > 0 {
		t.Errorf("it runs %q %q as %q", config.Config.Entrypoint, config.Config.Cmd, config.Config.User)
	}
	files := extract(t, image)
	if len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	for name, usage := range map[string]string{"manager": "Usage: manager [flags]", "verifier": "Usage: verifier [flags]"} {
		static(t, files[name])
		out, err := exec.CommandContext(t.Context(), files[name], "--help").CombinedOutput()
		if err != nil || !strings.Contains(string(out), usage) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), files[name], "--version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), name+" "+imageVersion+" ") {
			t.Errorf("%s --version: %v, %s", name, err, out)
		}
	}
	if err := run(t.Context(), []string{"-version=1.2.3 -X main.x=y"}, controlplane.Repository()); err == nil || !strings.Contains(err.Error(), "letters, digits") {
		t.Errorf("a version that adds flags: %v", err)
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

// extract writes the image's files into a folder and returns where each is.
func extract(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	folder, files := t.TempDir(), map[string]string{}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		reader := tar.NewReader(content)
		for {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if header.Mode != 0o755 || header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(time.Unix(0, 0)) || header.Typeflag != tar.TypeReg {
				t.Errorf("%+v", header)
			}
			path := filepath.Join(folder, filepath.Base(header.Name))
			text, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o700); err != nil {
				t.Fatal(err)
			}
			files[header.Name] = path
		}
		if err := content.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// static: on an empty image there is no loader to ask for libraries.
func static(t *testing.T, path string) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is linked dynamically", path)
		}
	}
	if file.Section(".debug_info") != nil || file.Section(".symtab") != nil {
		t.Errorf("%s is not stripped", path)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// TestTheDockerfileBuildsTheSame: neither way has a flag, a program or a user that the other has not.
func TestTheDockerfileBuildsTheSame(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var sources, paths []string
	for _, program := range programs {
		sources, paths = append(sources, "./cmd/"+program), append(paths, "/"+program)
	}
	for _, line := range []string{
		`RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X dgbot.io/key-operator/internal/version.value=$VERSION" -o / ` + strings.Join(sources, " "),
		"FROM scratch",
		"COPY --from=build " + strings.Join(paths, " ") + " /",
		"USER " + user,
		`ENTRYPOINT ["` + paths[0] + `"]`,
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(line) + `$`).Match(content) {
			t.Errorf("the Dockerfile has no line %s", line)
		}
	}
	// Inside of Docker there is no repository, so that -buildvcs has nothing to say.
	if want := []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X dgbot.io/key-operator/internal/version.value=1.2.3"}; !slices.Equal(buildFlags("1.2.3"), want) {
		t.Errorf("built with %q, the Dockerfile with %q", buildFlags("1.2.3"), want)
	}
}
