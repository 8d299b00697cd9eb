// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dgbot.io/key-operator/internal/scratch"
)

// programs are those in the image, and in the Dockerfile. The first is what it runs.
var programs = []string{"manager", "verifier"}

// buildFlags returns the Dockerfile's flags for a version, which --version prints. The version does not come from Git: images of one version
// would differ from one checkout to the next.
func buildFlags(version string) []string {
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X dgbot.io/key-operator/internal/version.value=" + version}
}

// build is a folder with the programs for a platform.
type build struct {
	platform *v1.Platform
	folder   string
}

func (b build) remove() { _ = os.RemoveAll(b.folder) }

func compile(ctx context.Context, repository, version string, platform *v1.Platform) (build, error) {
	folder, err := scratch.Folder("dgbot-image-")
	if err != nil {
		return build{}, err
	}
	b := build{platform, folder}
	args := append(append([]string{"build"}, buildFlags(version)...), "-o", folder)
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // platform and version were parsed, the rest is our own
	command.Dir = repository
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	// The environment of the caller's own builds would make another digest.
	command.Env = append(command.Env, "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=", "GOARM64=")
	if out, err := command.CombinedOutput(); err != nil {
		b.remove()
		return build{}, scratch.Explain(fmt.Errorf("building for %s: %w\n%s", platform, err, out))
	}
	return b, nil
}
