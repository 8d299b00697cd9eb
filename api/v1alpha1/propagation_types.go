// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxPendingVerifiers is the largest number of names in status.propagation.pending.
const MaxPendingVerifiers = 8

// Propagation is how far registered verifiers have followed the last withdrawal of a key. A withdrawal is a write by which a
// valid revision became Revoked or Disabled, or got a notAfter that is not in the future.
type Propagation struct {
	// generation is the generation of the key that caused the withdrawal. A client finds its own request by it.
	// +required
	// +kubebuilder:validation:Minimum=0
	Generation int64 `json:"generation"`

	// revokeIssuedBefore is the cut-off that caused the withdrawal. Absent if it had another cause.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	RevokeIssuedBefore *metav1.Time `json:"revokeIssuedBefore,omitempty"`

	// version is the resourceVersion of the records that a verifier must have reached to reject what was withdrawn.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Version string `json:"version"`

	// writtenAt is when the API server had answered the last write of the withdrawal.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=32
	WrittenAt metav1.MicroTime `json:"writtenAt"`

	// confirmedAt is the instant from which on no registered verifier accepts what was withdrawn. Absent while a verifier may
	// still accept it, and while no verifier is registered: then nothing is proven.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=32
	ConfirmedAt *metav1.MicroTime `json:"confirmedAt,omitempty"`

	// verifiers is the number of registered verifiers that the withdrawal concerns, without those that are stopped or gone.
	// +required
	// +kubebuilder:validation:Minimum=0
	Verifiers int32 `json:"verifiers"`

	// pending are the names of the Leases of verifiers that may still accept what was withdrawn: the first 8, sorted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	Pending []string `json:"pending,omitempty"`

	// boundAt is the time by which the pending verifiers count as gone if they stay silent. Absent while one of them renews
	// its registration, or answers however old its records are.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=32
	BoundAt *metav1.MicroTime `json:"boundAt,omitempty"`
}
