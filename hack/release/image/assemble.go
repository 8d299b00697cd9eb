// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user exists on no node, and is the one that config sets.
const user = "65532:65532"

// epoch is when everything in the image was made: the same sources give the same digest.
var epoch = time.Unix(0, 0).UTC()

// assemble makes one image for each platform, and the index that names them.
func assemble(builds []build) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, build := range builds {
		image, err := build.image()
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: build.platform}})
	}
	return index, nil
}

func (b build) image() (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, program := range programs {
		content, err := archive(filepath.Join(b.folder, program), program)
		if err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "COPY /" + program + " /"},
		})
		if err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: epoch}
	config.OS, config.Architecture, config.Variant = b.platform.OS, b.platform.Architecture, b.platform.Variant
	config.Config = v1.Config{User: user, Entrypoint: []string{"/" + programs[0]}, WorkingDir: "/"}
	return mutate.ConfigFile(image, config)
}

// archive is a file, owned by root and executable by all, as a tar archive.
func archive(path, name string) ([]byte, error) {
	content, err := os.ReadFile(path) //nolint:gosec // it was built a moment ago
	if err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content)), ModTime: epoch}
	if err := writer.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	return buffer.Bytes(), writer.Close()
}

// writeLayout writes an OCI image layout with the index as its only entry, as image builders do. It replaces an earlier one, and
// nothing else.
func writeLayout(folder string, index v1.ImageIndex) (v1.Hash, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return v1.Hash{}, err
	}
	if _, err := layout.FromPath(folder); err != nil && len(entries) > 0 {
		return v1.Hash{}, fmt.Errorf("%s is not empty and no OCI image layout: name another folder", folder)
	}
	if err := os.RemoveAll(folder); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := path.AppendIndex(index); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}
