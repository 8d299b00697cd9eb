// SPDX-License-Identifier: Apache-2.0

package standing

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Owned reports whether a record has an owner reference to the key it names.
func Owned(record *v1alpha1.DGbotAPIKeyRecord) bool {
	for _, owner := range record.OwnerReferences {
		if IsReferenceTo(v1alpha1.APIKeyKind, owner) && owner.UID == record.Spec.APIKeyRef.UID && owner.Name == record.Spec.APIKeyRef.Name {
			return true
		}
	}
	return false
}

// IsReferenceTo reports whether an owner reference names an object of one of our kinds, of any version.
func IsReferenceTo(kind string, owner metav1.OwnerReference) bool {
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	return err == nil && owner.Kind == kind && group.Group == v1alpha1.GroupVersion.Group
}

// IsOrphan reports whether a record has no owner reference to the key it names. Its key is rejected for good.
func IsOrphan(record *v1alpha1.DGbotAPIKeyRecord) bool { return !Owned(record) }
