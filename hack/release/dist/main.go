// SPDX-License-Identifier: Apache-2.0

// Command dist writes what is released beside the image: install.yaml, which is config/default and config/verifier in one file, and the chart as Helm
// packages it, both with the image's name in them.
//
//	go run ./dist -image <registry>/dgbot-key-operator:1.2.3    # in hack/release; 'make release' does
package main

import (
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dgbot.io/key-operator/hack/progress"
	"dgbot.io/key-operator/hack/release/reference"
	"dgbot.io/key-operator/internal/scratch"
)

// release is what is released, and whence.
type release struct {
	repository string
	version    string
	image      reference.Image
}

func main() {
	if err := run(os.Args[1:], filepath.Join("..", "..")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, repository string) error {
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	image := flags.String("image", "", "Name of the image, with registry and tag or digest.")
	version := flags.String("version", "", "Version of the chart; by default the image's tag.")
	out := flags.String("out", filepath.Join(repository, "dist"), "Folder to write to.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	parsed, err := reference.Parse(*image)
	if err != nil {
		return err
	}
	r := release{repository, strings.TrimPrefix(cmp.Or(*version, parsed.Tag), "v"), parsed}
	if _, err := semver.StrictNewVersion(r.version); err != nil {
		return fmt.Errorf("VERSION is %q: set it to a semantic version, such as 1.2.3, since the image's tag is none: %w", r.version, err)
	}
	if err := os.MkdirAll(*out, 0o755); err != nil { //nolint:gosec // every user may read a release
		return err
	}
	for _, part := range []struct {
		what  string
		write func(string) (string, error)
	}{
		{"writing install.yaml from config/default and config/verifier", r.writeManifest},
		{"packaging the Helm chart", r.writeChart},
	} {
		var path string
		err := progress.Step(part.what, func() (err error) {
			path, err = part.write(*out)
			return scratch.Explain(err)
		})
		if err != nil {
			return err
		}
		if err := report(path); err != nil {
			return err
		}
	}
	return nil
}

// report prints the digest and the absolute path of a file: this program runs in another folder than its user.
func report(path string) error {
	content, err := os.ReadFile(path) //nolint:gosec // it was written a moment ago
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	fmt.Printf("sha256:%x  %s\n", sha256.Sum256(content), path)
	return nil
}
