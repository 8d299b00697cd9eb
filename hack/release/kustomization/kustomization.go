// SPDX-License-Identifier: Apache-2.0

// Package kustomization builds the kustomizations of config, as kubectl does.
package kustomization

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"dgbot.io/key-operator/internal/scratch"
)

// Build returns the objects of a folder in the order in which kubectl applies them: namespaces first, and what needs others after them.
func Build(folder string) ([]*yaml.RNode, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Clean(folder))
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", folder, err)
	}
	return built.ToRNodeSlice(), nil
}

// Overlay builds a kustomization on top of some folders, which it names as its resources.
func Overlay(overlay types.Kustomization, folders ...string) (objects []*yaml.RNode, err error) {
	at, err := scratch.Folder("dgbot-overlay-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	// Kustomize takes no absolute paths, and compares relative ones after following links.
	if at, err = filepath.EvalSymlinks(at); err != nil {
		return nil, err
	}
	for _, folder := range folders {
		absolute, err := filepath.Abs(folder)
		if err != nil {
			return nil, err
		}
		relative, err := filepath.Rel(at, absolute)
		if err != nil {
			return nil, err
		}
		overlay.Resources = append(overlay.Resources, filepath.ToSlash(relative))
	}
	content, err := yaml.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(at, "kustomization.yaml"), content, 0o600); err != nil {
		return nil, err
	}
	return Build(at)
}
