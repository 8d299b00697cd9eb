// SPDX-License-Identifier: Apache-2.0

// Package read bounds reads from the API server, and makes failed reads part of an observation: a plan can then do what does not depend on
// them.
package read

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Metadata returns an object of a core kind to read metadata into.
func Metadata(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return object
}

// Get reads an object, and reports whether it exists. An error means that it could not be read.
func Get[T client.Object](ctx context.Context, reader client.Reader, name types.NamespacedName, into T) (found bool, err error) {
	err = reader.Get(ctx, name, into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

const (
	// readTimeout bounds each read that a plan can do without: a KMS that does not answer must not delay a revocation.
	readTimeout = 5 * time.Second
	// UrgentTimeout bounds all of these reads together while a revocation, disabling or expiry of records is pending. An API server that
	// is not overloaded needs a quarter of it, most of which is the consistent list of records.
	UrgentTimeout = 400 * time.Millisecond
	// AttemptTimeout applies instead if the operator first publishes a replacement of the revoked revision, which needs the Secret.
	AttemptTimeout = 800 * time.Millisecond
)

// Bounded calls a read with a context that ends after readTimeout.
func Bounded(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return read(ctx)
}
