// SPDX-License-Identifier: Apache-2.0

// Command dist writes what is released beside the image: install.yaml, which is config/default in one file, and the chart as Helm
// packages it, both with the image's name in them.
//
//	go run ./dist -image <registry>/dgbot-key-operator:1.2.3    # in hack/release; 'make release' does
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dgbot.io/key-operator/hack/release/reference"
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
	if err := os.MkdirAll(*out, 0o755); err != nil { //nolint:gosec // what is released everybody may read
		return err
	}
	manifest, err := r.writeManifest(*out)
	if err != nil {
		return err
	}
	chart, err := r.writeChart(*out)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", manifest, chart)
	return nil
}
