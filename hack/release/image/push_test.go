// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// standIns are programs that take no minutes to build.
func standIns(t *testing.T, platforms ...string) []build {
	t.Helper()
	var builds []build
	for _, name := range platforms {
		platform, err := v1.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		b := build{platform, t.TempDir()}
		for _, program := range programs {
			if err := os.WriteFile(filepath.Join(b.folder, program), []byte(program+" for "+name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		builds = append(builds, b)
	}
	return builds
}

// TestAPushedImageIsWhatWasBuilt, for each platform, under the tag and under the digest.
func TestAPushedImageIsWhatWasBuilt(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	index, err := assemble(standIns(t, "linux/amd64", "linux/arm64"))
	if err != nil {
		t.Fatal(err)
	}
	image := strings.TrimPrefix(server.URL, "http://") + "/keys/operator:1.2.3"
	target, err := targetOf(true, image)
	if err != nil {
		t.Fatal(err)
	}
	if err := pushIndex(t.Context(), target, index); err != nil {
		t.Fatal(err)
	}
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{target.Name(), target.Context().Digest(want.String()).Name()} {
		parsed, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := remote.Index(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pulled.Digest(); got != want {
			t.Errorf("%s: %s, want %s, %v", reference, got, want, err)
		}
		got := images(t, pulled)
		if platforms := slices.Sorted(maps.Keys(got)); !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64"}) {
			t.Fatalf("platforms %s", platforms)
		}
		for platform, image := range got {
			for program, path := range extract(t, image) {
				if content, err := os.ReadFile(path); string(content) != program+" for "+platform {
					t.Errorf("%s holds %s, %v", program, content, err)
				}
			}
		}
	}
}

// TestALayoutReplacesALayoutOnly: a mistyped folder is not emptied.
func TestALayoutReplacesALayoutOnly(t *testing.T) {
	folder := t.TempDir()
	precious := filepath.Join(folder, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	index, err := assemble(standIns(t, host))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writeLayout(folder, index); err == nil || !strings.Contains(err.Error(), "no OCI image layout") {
		t.Error(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// TestWhatCannotBePushedIsRefused before anything is built.
func TestWhatCannotBePushedIsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"-push":                   "IMAGE is not set",
		"-push -image=operator:1": "want <registry>/<repository>:<tag>",
		"-push -image=registry.example/o@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef": "name a tag",
		"-platforms=windows/amd64": `platform "windows/amd64": want linux/<architecture>`,
		"-platforms=":              `platform "": want linux/<architecture>`,
	} {
		out := filepath.Join(t.TempDir(), "image")
		err := run(t.Context(), append(strings.Fields(args), "-out="+out), controlplane.Repository())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something is written", args)
		}
	}
}
