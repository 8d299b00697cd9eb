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

// RevisionStatus describes one revision of the key: one issued key text.
type RevisionStatus struct {
	// revision is the number of the revision. The first is 1; the operator can skip numbers.
	// +required
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision"`

	// keyID is the public part of the key text. Verifiers return it in their answers, so that services can log it.
	// +required
	// +kubebuilder:validation:MaxLength=32
	KeyID string `json:"keyID"`

	// recordName is the name of the DGbotAPIKeyRecord of this revision. Verifiers accept the revision because of this record.
	// +required
	// +kubebuilder:validation:MaxLength=253
	RecordName string `json:"recordName"`

	// issuedAt is when the operator issued the revision.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	IssuedAt metav1.Time `json:"issuedAt"`

	// notAfter is the instant from which on verifiers reject the revision. Absent while the revision has no such bound.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// lastUsedAt is when a verifier last accepted this revision. Absent if no verifier has reported a use. Verifiers report
	// uses in steps of status.resolution of the revision's record, 10 minutes by default.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`
}
