// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"dgbot.io/key-operator/hack/release/kustomization"
)

// imageInConfig is the name that config gives the image.
const imageInConfig = "dgbot-key-operator"

// writeManifest writes config/default as it is but for the image: the same as an overlay with "images" gives.
func (r release) writeManifest(out string) (string, error) {
	objects, err := kustomization.Overlay(types.Kustomization{Images: []types.Image{{
		Name: imageInConfig, NewName: r.image.Repository, NewTag: r.image.Tag, Digest: r.image.Digest,
	}}}, filepath.Join(r.repository, "config", "default"))
	if err != nil {
		return "", err
	}
	var content strings.Builder
	fmt.Fprintf(&content, "# The DGbot key operator %s: kubectl apply -f install.yaml\n", r.version)
	for _, object := range objects {
		text, err := object.String()
		if err != nil {
			return "", err
		}
		content.WriteString("---\n" + text)
	}
	path := filepath.Join(out, "install.yaml")
	return path, os.WriteFile(path, []byte(content.String()), 0o644) //nolint:gosec // what is released everybody may read
}
