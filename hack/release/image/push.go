// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dgbot.io/key-operator/hack/release/reference"
)

// targetOf reads where to push to, before minutes are spent on building. Without a push it is nil.
func targetOf(push bool, image string) (name.Reference, error) {
	if !push {
		return nil, nil
	}
	parsed, err := reference.Parse(image)
	if err != nil {
		return nil, err
	}
	if parsed.Digest != "" {
		return nil, errors.New("IMAGE has a digest: name a tag, the digest is what comes out")
	}
	return name.NewTag(image, name.StrictValidation)
}

// pushIndex prints the name to be released: with the digest, which is immutable.
func pushIndex(ctx context.Context, target name.Reference, index v1.ImageIndex) error {
	if err := remote.WriteIndex(target, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", target.Name(), digest)
	return nil
}
