// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Vouch renews the Lease of an environment once, as verifiers do that would have noticed every use since a time.
func Vouch(ctx context.Context, writer client.Client, environment string, since time.Time) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: OperatorNamespace, Name: v1alpha1.UsageLeasePrefix + environment}}
	err := writer.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	seconds := int32(1)
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, v1alpha1.TrackedSinceAnnotation, since.UTC().Format(time.RFC3339))
	lease.Spec = coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: time.Now()}, LeaseDurationSeconds: &seconds}
	switch {
	case apierrors.IsNotFound(err):
		return writer.Create(ctx, lease)
	case err != nil:
		return err
	}
	return writer.Update(ctx, lease)
}
