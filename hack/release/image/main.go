// SPDX-License-Identifier: Apache-2.0

// Command image builds the image of the Dockerfile without Docker: it needs Go and no base image. It writes an OCI image layout,
// which skopeo, crane and podman read, and pushes it where asked to.
//
//	go run ./image                                              # in hack/release; 'make image-oci' does
//	go run ./image -push -image <registry>/dgbot-key-operator:1.2.3    # 'make image-push' does
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

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
	if err := flags.Parse(args); err != nil {
		return err
	}
	target, err := targetOf(*push, *image)
	if err != nil {
		return err
	}
	var binaries []build
	for _, name := range strings.Split(*platforms, ",") {
		platform, err := v1.ParsePlatform(strings.TrimSpace(name))
		if err != nil || platform.OS != "linux" || platform.Architecture == "" {
			return fmt.Errorf("platform %q: want linux/<architecture>", name)
		}
		build, err := compile(ctx, repository, platform)
		if err != nil {
			return err
		}
		defer build.remove()
		binaries = append(binaries, build)
	}
	index, err := assemble(binaries)
	if err != nil {
		return err
	}
	digest, err := writeLayout(*out, index)
	if err != nil {
		return err
	}
	if target == nil {
		fmt.Println(digest)
		return nil
	}
	return pushIndex(ctx, target, index)
}
