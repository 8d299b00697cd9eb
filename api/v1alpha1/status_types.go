// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HandledRequest has the requests that the operator has carried out. Clients can wait for it.
type HandledRequest struct {
	// rotateRequestedAt is the last rotation request (spec.rotation.requestedAt or its annotation) that the current revision
	// satisfies.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	RotateRequestedAt *metav1.Time `json:"rotateRequestedAt,omitempty"`

	// revokeIssuedBefore is the last cut-off (spec.rotation.revokeIssuedBefore or its annotation) up to which all revisions
	// are revoked.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	RevokeIssuedBefore *metav1.Time `json:"revokeIssuedBefore,omitempty"`
}

// Binding names the published Secret in the form of a Service Binding "provisioned service".
type Binding struct {
	// name is the name of the Secret, in the same namespace.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
