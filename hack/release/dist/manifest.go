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

// installed are the folders of config in install.yaml. The verifier is among them: without it no API can ask about a key.
var installed = []string{"default", "verifier"}

// writeManifest writes what is installed as it is but for the image: the same as an overlay with "images" gives. Namespaces and
// kinds come first, so that one 'kubectl apply' is enough.
func (r release) writeManifest(out string) (string, error) {
	folders := make([]string, len(installed))
	for i, name := range installed {
		folders[i] = filepath.Join(r.repository, "config", name)
	}
	objects, err := kustomization.Overlay(types.Kustomization{Images: []types.Image{{
		Name: imageInConfig, NewName: r.image.Repository, NewTag: r.image.Tag, Digest: r.image.Digest,
	}}}, folders...)
	if err != nil {
		return "", err
	}
	var content strings.Builder
	fmt.Fprintf(&content, "# The DGbot key operator and verifier %s: kubectl apply -f install.yaml\n", r.version)
	for _, object := range objects {
		text, err := object.String()
		if err != nil {
			return "", err
		}
		content.WriteString("---\n" + text)
	}
	path := filepath.Join(out, "install.yaml")
	return path, os.WriteFile(path, []byte(content.String()), 0o644) //nolint:gosec // every user may read a release
}
