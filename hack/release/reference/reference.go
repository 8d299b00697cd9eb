// SPDX-License-Identifier: Apache-2.0

// Package reference reads the name under which an image is released.
package reference

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Image is a name with a tag, a digest, or both.
type Image struct {
	Repository, Tag, Digest string
}

// Parse wants all of it: a registry that is left out means another one to each who reads the name, and a tag that is left out moves.
func Parse(text string) (Image, error) {
	if text == "" {
		return Image{}, errors.New("IMAGE is not set: name the image, as in IMAGE=<registry>/dgbot-key-operator:1.2.3")
	}
	wrong := func(err error) (Image, error) {
		return Image{}, fmt.Errorf("IMAGE is %q: want <registry>/<repository>:<tag>, or @<digest>: %w", text, err)
	}
	if strings.Contains(text, "//") {
		return wrong(errors.New("it is no URL"))
	}
	tagged, digest, pinned := strings.Cut(text, "@")
	image := Image{Repository: tagged, Digest: digest}
	if slash := strings.LastIndex(tagged, "/"); strings.Contains(tagged[slash+1:], ":") {
		colon := strings.LastIndex(tagged, ":")
		image.Repository, image.Tag = tagged[:colon], tagged[colon+1:]
	}
	if pinned {
		if _, err := name.NewDigest(text, name.StrictValidation); err != nil {
			return wrong(err)
		}
	}
	if image.Tag != "" || !pinned {
		if _, err := name.NewTag(tagged, name.StrictValidation); err != nil {
			return wrong(err)
		}
	}
	return image, nil
}
