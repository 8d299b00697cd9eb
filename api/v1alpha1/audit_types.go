// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EnvironmentAudit describes when the operator warns of, disables and revokes unused keys. A key is unused since the
// latest of these times: the issue of its newest revision that was not issued on schedule; the start of verifiers' reports
// without a gap; its last use; the annotation keys.dgbot.io/kept-at. All three durations count from there. Each stage
// lasts its own time at least, so a key that is found unused late still gets the warning first. The audit does nothing
// while no verifier reports.
// +kubebuilder:validation:XValidation:rule="!has(self.unusedAfter) || (size(self.unusedAfter) == 0 || !self.unusedAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || !has(self.disableAfter) || (size(self.disableAfter) == 0 || !self.disableAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || duration(self.unusedAfter) < duration(self.disableAfter)",message="disableAfter must be more than unusedAfter: a key is warned of before it is disabled",fieldPath=".disableAfter"
// +kubebuilder:validation:XValidation:rule="!has(self.disableAfter) || (size(self.disableAfter) == 0 || !self.disableAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || !has(self.revokeAfter) || (size(self.revokeAfter) == 0 || !self.revokeAfter.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')) || duration(self.disableAfter) < duration(self.revokeAfter)",message="revokeAfter must be more than disableAfter: a key is disabled, which can be taken back, before it is revoked",fieldPath=".revokeAfter"
// +kubebuilder:validation:XValidation:rule="!has(self.revokeAfter) || has(self.disableAfter)",message="revokeAfter needs disableAfter: a key is disabled, which can be taken back, before it is revoked",fieldPath=".revokeAfter"
type EnvironmentAudit struct {
	// unusedAfter is how long a key is unused until it gets the condition Unused, as a warning. Verifiers still accept it.
	// Required; a duration of at least 1s and at most 876000h, such as 2160h (90 days).
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="unusedAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)"
	UnusedAfter *metav1.Duration `json:"unusedAfter,omitempty"`

	// disableAfter is how long a key is unused until the audit disables it, as spec.state: Disabled does. A duration of more
	// than unusedAfter and at most 876000h, such as 2880h (120 days). Without it, the audit disables no key. The annotation
	// keys.dgbot.io/kept-at on the key, with the time of that decision, enables it again. A longer time enables the keys again
	// that it no longer concerns.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="disableAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 2880h (days are not a unit: 2880h is 120 days)"
	DisableAfter *metav1.Duration `json:"disableAfter,omitempty"`

	// revokeAfter is how long a key is unused until the audit revokes it, for good. Needs disableAfter; a duration of more
	// than disableAfter and at most 876000h, such as 4320h (180 days). Without it, the audit revokes no key. With the
	// annotation keys.dgbot.io/kept-at on the key, the operator issues a new revision. It restores no earlier one.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="revokeAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 4320h (days are not a unit: 4320h is 180 days)"
	RevokeAfter *metav1.Duration `json:"revokeAfter,omitempty"`

	// exemptions are keys that the audit ignores until a given time: at most 256. Default: none. If a key is listed more than
	// once, the latest until counts. An exemption enables a key that the audit has disabled; a revoked key stays revoked. The
	// list is atomic: a server-side apply replaces it as a whole.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Exemptions []AuditExemption `json:"exemptions,omitempty"`
}

// AuditExemption names a key that the audit ignores, why, and until when.
type AuditExemption struct {
	// name is the name of the DGbotAPIKey. Required.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace is the namespace of the DGbotAPIKey. Required.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// reason is why the key is exempt, for the next reader. Required; 1 to 200 characters on one line, not blank.
	// +required
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]')",message="reason must say why the key is exempt, such as Used by the yearly report"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]') || !self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{034F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2065}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0D}\\x{FFA0}\\x{FFF0}-\\x{FFF8}\\x{1D159}\\x{E0000}-\\x{E0FFF}]|[^\\P{Cf}\\x{200C}\\x{200D}]')",message="reason must be one line without control characters, those that are invisible or change the direction of text included"
	Reason string `json:"reason"`

	// until is when the exemption ends. Required; a time in RFC 3339 with whole seconds. Every exemption has an end: review it
	// then, and set a later time to extend it.
	// +required
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="until must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	Until *metav1.Time `json:"until,omitempty"`
}

// AuditSummary counts the keys of an environment for an audit.
type AuditSummary struct {
	// unused is the number of keys with the condition Unused, including those that the audit has disabled or revoked.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unused int64 `json:"unused,omitempty"`

	// disabled is the number of keys that the audit has disabled.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Disabled int64 `json:"disabled,omitempty"`

	// revoked is the number of keys that the audit has revoked.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Revoked int64 `json:"revoked,omitempty"`

	// neverUsed is the number of issued keys without a known use.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NeverUsed int64 `json:"neverUsed,omitempty"`

	// neverRotated is the number of keys that still have their first revision.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NeverRotated int64 `json:"neverRotated,omitempty"`

	// expiring is the number of keys whose spec.expiresAt comes within 30 days.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Expiring int64 `json:"expiring,omitempty"`

	// exempt is the number of keys with an exemption that has not ended.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Exempt int64 `json:"exempt,omitempty"`

	// nextStageAt is when the audit will disable or revoke the next unused key, as currently known. Absent if no key has such
	// a stage ahead.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextStageAt *metav1.Time `json:"nextStageAt,omitempty"`
}

// AuditStatus is how far the audit of unused keys has gone with a key.
type AuditStatus struct {
	// unusedSince is the time since which the key is known to be unused.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	UnusedSince *metav1.Time `json:"unusedSince,omitempty"`

	// stage is what the audit has done: Unused (a warning), Disabled or Revoked.
	// +optional
	Stage AuditStage `json:"stage,omitempty"`

	// since is when the key reached the stage.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	Since *metav1.Time `json:"since,omitempty"`

	// nextStageAt is when the key reaches the next stage if it stays unused. Absent if there is no next stage.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextStageAt *metav1.Time `json:"nextStageAt,omitempty"`
}

// AuditStage is what the audit has done with an unused key.
// +kubebuilder:validation:Enum=Unused;Disabled;Revoked
type AuditStage string

// The stages of the audit, in their order.
const (
	AuditUnused   AuditStage = "Unused"
	AuditDisabled AuditStage = "Disabled"
	AuditRevoked  AuditStage = "Revoked"
)
