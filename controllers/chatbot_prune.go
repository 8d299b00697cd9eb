// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// pruneCopy removes revisions from a replica that cannot be read. The patch is conditional on the kid, which is public: where an
// entry holds another revision, or none, the API server rejects the patch and nothing is changed. Deleting the replica by its name
// was refused: the revision in use would stop verifying with the revoked one.
func (r *ChatbotReconciler) pruneCopy(ctx context.Context, seen *seenChatbot, kids []string) error {
	if seen.HMAC.Copy.Pruned == nil {
		seen.HMAC.Copy.Pruned = map[string]bool{}
	}
	for _, kid := range kids {
		for _, suffix := range []string{"", v1alpha1.IdentityPreviousSuffix, v1alpha1.IdentityPendingSuffix} {
			if err := r.pruneEntry(ctx, lockName(seen.ID), kid, suffix); err != nil {
				return err
			}
		}
		seen.HMAC.Copy.Pruned[kid] = true
	}
	return nil
}

// pruneEntry removes the HMAC secret of one suffix from a replica if it has that kid.
func (r *ChatbotReconciler) pruneEntry(ctx context.Context, name types.NamespacedName, kid, suffix string) error {
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/data/" + v1alpha1.IdentityKID + suffix, "value": []byte(kid)},
		{"op": "remove", "path": "/data/" + v1alpha1.IdentitySecretKey + suffix},
	})
	if err != nil {
		return err
	}
	replica := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	err = bounded(ctx, func(ctx context.Context) error {
		return r.Client.Patch(ctx, replica, client.RawPatch(types.JSONPatchType, patch))
	})
	switch {
	case apierrors.IsNotFound(err), doesNotApply(err):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return ofCopy(refuse(v1alpha1.CopyWriteRefusedReason, "the API server did not answer in time"), name, false)
	case err != nil:
		return adviseIdentity(ofCopy(judge(withoutOwnWords(err), v1alpha1.CopyWriteRefusedReason), name, false), err)
	}
	ctrl.LoggerFrom(ctx).Info("Removed a revoked HMAC secret from a replica that cannot be read", "replica", name.Name, "kid", kid)
	return nil
}

// doesNotApply reports whether the API server rejected a JSON patch because a test in it failed, or a path in it does not exist.
// Its answers to an invalid or forbidden object have the same code, and name the object.
func doesNotApply(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" && len(details.Causes) == 0
}
