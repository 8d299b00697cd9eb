// SPDX-License-Identifier: Apache-2.0

// Command image builds the image of the Dockerfile without Docker: it needs Go and no base image. It writes an OCI image layout,
// which skopeo, crane and podman read, and pushes it where asked to.
//
//	go run ./image                                              # in hack/release; 'make image-oci' does
//	go run ./image -push -image <registry>/dgbot-key-operator:1.2.3    # 'make image-push' does
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dgbot.io/key-operator/hack/progress"
)

// versionForm is what a flag of the linker takes. An empty version leaves the programs at devel.
var versionForm = regexp.MustCompile(`^[0-9A-Za-z._+-]*$`)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], filepath.Join("..", ".."))
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, repository string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "Platforms to build for.")
	out := flags.String("out", filepath.Join(repository, "dist", "image"), "Folder to write the OCI image layout to.")
	push := flags.Bool("push", false, "Push it, with the credentials that docker or podman login left.")
	image := flags.String("image", "", "Name to push it under, with registry and tag.")
	version := flags.String("version", "", "What --version of the programs prints; by default the tag of -image, else devel.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	target, err := targetOf(*push, *image)
	if err != nil {
		return err
	}
	if target != nil {
		*version = cmp.Or(*version, target.Identifier())
	}
	if !versionForm.MatchString(*version) {
		return fmt.Errorf("version %q: want letters, digits and . _ + - only, such as 1.2.3", *version)
	}
	wanted, err := parsePlatforms(*platforms)
	if err != nil {
		return err
	}
	var binaries []build
	for _, platform := range wanted {
		err := progress.Step("building manager and verifier for "+platform.String(), func() error {
			build, err := compile(ctx, repository, *version, platform)
			if err == nil {
				binaries = append(binaries, build)
			}
			return err
		})
		if err != nil {
			return err
		}
		defer binaries[len(binaries)-1].remove()
	}
	index, err := assemble(binaries)
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	var digest v1.Hash
	err = progress.Step("writing the OCI image layout", func() (err error) {
		digest, err = writeLayout(folder, index)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s  %s\n", digest, folder)
	if target == nil {
		return nil
	}
	return progress.Step("pushing "+target.Name(), func() error { return pushIndex(ctx, target, index) })
}

// parsePlatforms reads the names of platforms, all of them before anything is built.
func parsePlatforms(names string) ([]*v1.Platform, error) {
	var platforms []*v1.Platform
	for _, name := range strings.Split(names, ",") {
		platform, err := v1.ParsePlatform(strings.TrimSpace(name))
		if err != nil || platform.OS != "linux" || platform.Architecture == "" {
			return nil, fmt.Errorf("platform %q: want linux/<architecture>", name)
		}
		platforms = append(platforms, platform)
	}
	return platforms, nil
}
