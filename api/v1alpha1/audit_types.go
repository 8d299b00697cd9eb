// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EnvironmentAudit says when keys that nobody uses go. A key is unused since the latest of: when its current revision was asked for
// (a rotation on schedule asks for nothing), since when verifiers have reported uses without a gap, its last use, and the annotation
// keys.dgbot.io/kept-at. All three times are counted from there, and each stage lasts its own time at least: a key that is found
// unused late is warned of first all the same. Without verifiers that report nothing is done.
// +kubebuilder:validation:XValidation:rule="!has(self.unusedAfter) || (size(self.unusedAfter) == 0 || !self.unusedAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || !has(self.disableAfter) || (size(self.disableAfter) == 0 || !self.disableAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || duration(self.unusedAfter) < duration(self.disableAfter)",message="disableAfter must be more than unusedAfter: a key is warned of before it is disabled",fieldPath=".disableAfter"
// +kubebuilder:validation:XValidation:rule="!has(self.disableAfter) || (size(self.disableAfter) == 0 || !self.disableAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || !has(self.revokeAfter) || (size(self.revokeAfter) == 0 || !self.revokeAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || duration(self.disableAfter) < duration(self.revokeAfter)",message="revokeAfter must be more than disableAfter: a key is disabled, which can be taken back, before it is revoked",fieldPath=".revokeAfter"
// +kubebuilder:validation:XValidation:rule="!has(self.revokeAfter) || has(self.disableAfter)",message="revokeAfter needs disableAfter: a key is disabled, which can be taken back, before it is revoked",fieldPath=".revokeAfter"
type EnvironmentAudit struct {
	// unusedAfter is after how long a key that is not used gets the condition Unused. It goes on verifying. A duration of at least
	// 1s and at most 876000h, such as 2160h (90 days).
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="unusedAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)"
	UnusedAfter *metav1.Duration `json:"unusedAfter,omitempty"`

	// disableAfter is after how long it is disabled, as by spec.state: Disabled. More than unusedAfter. Without it no key is. The
	// annotation keys.dgbot.io/kept-at on the key enables it again, with the time at which that was decided.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="disableAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 2880h (days are not a unit: 2880h is 120 days)"
	DisableAfter *metav1.Duration `json:"disableAfter,omitempty"`

	// revokeAfter is after how long it is revoked, for good. More than disableAfter. Without it no key is. The annotation
	// keys.dgbot.io/kept-at on the key has a new revision issued; no earlier one is revived.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="revokeAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 4320h (days are not a unit: 4320h is 180 days)"
	RevokeAfter *metav1.Duration `json:"revokeAfter,omitempty"`

	// exemptions are keys that the audit leaves alone until a day. What has been revoked stays revoked. If a key is listed more
	// than once, the latest until counts. The list is atomic: a server-side apply replaces it as a whole.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Exemptions []AuditExemption `json:"exemptions,omitempty"`
}

// AuditExemption is a key that is left alone by the audit, because of something.
type AuditExemption struct {
	// name of the DGbotAPIKey.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace of the DGbotAPIKey.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// reason for it, which the next reader needs; 1-200 characters on one line, not blank.
	// +required
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]')",message="reason must say why the key is exempt, such as Used by the yearly report"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]') || !self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{034F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2065}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0D}\\x{FFA0}\\x{FFF0}-\\x{FFF8}\\x{1D159}\\x{E0000}-\\x{E0FFF}]|[^\\P{Cf}\\x{200C}\\x{200D}]')",message="reason must be one line without control characters, those that are invisible or change the direction of text included"
	Reason string `json:"reason"`

	// until is when the exemption ends. RFC 3339 in whole seconds. There is none without an end: extend it when it is looked at.
	// +required
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="until must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	Until *metav1.Time `json:"until,omitempty"`
}

// AuditSummary counts the keys of an environment by what an audit asks.
type AuditSummary struct {
	// unused is how many keys have the condition Unused, those that have been disabled or revoked for it included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unused int64 `json:"unused,omitempty"`

	// disabled is how many of them the audit has disabled.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Disabled int64 `json:"disabled,omitempty"`

	// revoked is how many of them the audit has revoked.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Revoked int64 `json:"revoked,omitempty"`

	// neverUsed is how many keys have been issued and no use of them is known.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NeverUsed int64 `json:"neverUsed,omitempty"`

	// neverRotated is how many keys still have their first revision.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NeverRotated int64 `json:"neverRotated,omitempty"`

	// expiring is how many keys end by their spec.expiresAt within 30 days.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Expiring int64 `json:"expiring,omitempty"`

	// exempt is how many keys an exemption holds for.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Exempt int64 `json:"exempt,omitempty"`

	// nextStageAt is when the next of the unused keys is disabled or revoked, as it looks now. Absent where none will be.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextStageAt *metav1.Time `json:"nextStageAt,omitempty"`
}

// AuditStatus is how far the audit of unused keys has come with a key.
type AuditStatus struct {
	// unusedSince is since when the key is known not to be used.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	UnusedSince *metav1.Time `json:"unusedSince,omitempty"`

	// stage is what has come of that: Unused (a warning), Disabled or Revoked.
	// +optional
	Stage AuditStage `json:"stage,omitempty"`

	// since is when the stage was reached.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	Since *metav1.Time `json:"since,omitempty"`

	// nextStageAt is when the next stage is reached if nobody uses the key. Absent where there is none.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextStageAt *metav1.Time `json:"nextStageAt,omitempty"`
}

// AuditStage is what comes of a key's not being used.
// +kubebuilder:validation:Enum=Unused;Disabled;Revoked
type AuditStage string

// The stages of the audit, each of which comes after the one before.
const (
	AuditUnused   AuditStage = "Unused"
	AuditDisabled AuditStage = "Disabled"
	AuditRevoked  AuditStage = "Revoked"
)
