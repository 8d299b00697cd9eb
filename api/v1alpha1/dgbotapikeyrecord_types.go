// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cause is why the operator issued a revision.
// +kubebuilder:validation:Enum=FirstIssue;Schedule;Request;Revocation;SecretLost;SecretAltered;RecordLost;Reactivation;ExpiryChanged
type Cause string

const (
	// CauseFirstIssue: the key had no revision in use yet.
	CauseFirstIssue Cause = "FirstIssue"
	// CauseSchedule: a rotation by spec.rotation.interval was due.
	CauseSchedule Cause = "Schedule"
	// CauseRequest: spec.rotation.requestedAt or its annotation asked for a rotation.
	CauseRequest Cause = "Request"
	// CauseRevocation: spec.rotation.revokeIssuedBefore or its annotation revoked the current revision.
	CauseRevocation Cause = "Revocation"
	// CauseSecretLost: the Secret, or the key text in it, was missing.
	CauseSecretLost Cause = "SecretLost"
	// CauseSecretAltered: the key text in the Secret was not the one that the operator had published.
	CauseSecretAltered Cause = "SecretAltered"
	// CauseRecordLost: the record of the key text in the Secret was missing.
	CauseRecordLost Cause = "RecordLost"
	// CauseReactivation: the key was Revoked and is Active again.
	CauseReactivation Cause = "Reactivation"
	// CauseExpiryChanged: spec.expiresAt was removed, or moved later than the notAfter of the current revision.
	CauseExpiryChanged Cause = "ExpiryChanged"
)

// APIKeyReference names the DGbotAPIKey that a record belongs to.
type APIKeyReference struct {
	// name is the name of the DGbotAPIKey, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// uid is the UID of the DGbotAPIKey. A key that is created anew under the same name is another key.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`
}

// DGbotAPIKeyRecordSpec is what a verifier needs to know about one revision. It is immutable, except label, chatbotID,
// scopes, notAfter (only earlier) and state (Revoked is final).
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.notAfter) || (has(self.notAfter) && self.notAfter <= oldSelf.notAfter)",message="notAfter may be set and may move earlier; it never moves later and is never removed: issue a new revision instead",fieldPath=".notAfter",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="oldSelf.state != 'Revoked' || self.state == 'Revoked'",message="Revoked is final: issue a new revision instead",fieldPath=".state",reason=FieldValueForbidden
type DGbotAPIKeyRecordSpec struct {
	// apiKeyRef names the DGbotAPIKey that this record belongs to. A verifier accepts the record only while one of its owner
	// references names the same object. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="apiKeyRef is immutable",reason=FieldValueForbidden
	APIKeyRef APIKeyReference `json:"apiKeyRef"`

	// revision is the number of the revision that this record describes: 1 to 9999999999. Immutable.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9999999999
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="revision is immutable",reason=FieldValueForbidden
	Revision int64 `json:"revision"`

	// cause is why the operator issued this revision. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cause is immutable",reason=FieldValueForbidden
	Cause Cause `json:"cause"`

	// keyID is the public part of the key text: 12 letters and digits. Immutable.
	// +required
	// +kubebuilder:validation:MaxLength=12
	// +kubebuilder:validation:Pattern=`^[0-9A-Za-z]{12}$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyID is immutable",reason=FieldValueForbidden
	KeyID string `json:"keyID"`

	// hash is the SHA-256 of the key text: sha256: and 64 lower-case hex digits. Immutable.
	// +required
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="hash is immutable: a changed hash would be another key",reason=FieldValueForbidden
	Hash string `json:"hash"`

	// environment is the environment that the key belongs to. Immutable.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="environment is immutable",reason=FieldValueForbidden
	Environment string `json:"environment"`

	// issuedAt is when the operator issued the revision. A time in RFC 3339 with whole seconds. The operator compares rotation
	// and revocation requests with it. Verifiers never compare it with their clock. Immutable.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="issuedAt is immutable",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",message="issuedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	IssuedAt metav1.Time `json:"issuedAt"`

	// label is the label of the key: at most 100 characters. The operator keeps it equal to that of the DGbotAPIKey.
	// +required
	// +kubebuilder:validation:MaxLength=100
	Label string `json:"label"`

	// chatbotID is the public ID of the chatbot that the key is for: at most 64 letters, digits, _ and -. Absent if the key is
	// for no chatbot. The operator updates it when the DGbotAPIKey names another chatbot.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9_-]*$`
	ChatbotID string `json:"chatbotID,omitempty"`

	// scopes are the scopes of the key: at most 32, without repeats. The operator keeps them equal to those of the
	// DGbotAPIKey, as far as its DGbotEnvironment allows them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, x == y))",message="scopes must not name a scope twice: remove the repeated entry"
	Scopes []Scope `json:"scopes,omitempty"`

	// notAfter is the instant from which on verifiers reject the revision. A time in RFC 3339 with whole seconds. By default
	// there is no such bound. It can be set and moved earlier; the API server rejects a later time or its removal.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",message="notAfter must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// state is the state of the revision. Active: verifiers accept it. Disabled: verifiers reject it, and it can become Active
	// again. Revoked: verifiers reject it for good. Default Active.
	// +optional
	// +kubebuilder:default=Active
	// +kubebuilder:validation:Enum=Active;Disabled;Revoked
	State KeyState `json:"state,omitempty"`
}

// DGbotAPIKeyRecordStatus is what verifiers report about uses. A use is a request whose key a verifier accepted.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.firstUsedAt) || (has(self.firstUsedAt) && self.firstUsedAt <= oldSelf.firstUsedAt)",message="firstUsedAt never moves later and is never removed",fieldPath=".firstUsedAt",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.lastUsedAt) || (has(self.lastUsedAt) && self.lastUsedAt >= oldSelf.lastUsedAt)",message="lastUsedAt never moves earlier and is never removed",fieldPath=".lastUsedAt",reason=FieldValueForbidden
type DGbotAPIKeyRecordStatus struct {
	// firstUsedAt is when the revision was first used. A time in RFC 3339 with whole seconds. Absent until a verifier reports
	// a use. It never moves later.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",message="firstUsedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	FirstUsedAt *metav1.Time `json:"firstUsedAt,omitempty"`

	// lastUsedAt is when the revision was last used, as far as verifiers have reported it. A time in RFC 3339 with whole
	// seconds. Absent until a verifier reports a use. The real last use can be later by up to resolution. It never moves
	// earlier.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",message="lastUsedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`

	// resolution is the shortest time between two reports of uses. A duration of 0s or more, at most 876000h. It is the flag
	// --usage-resolution of the verifier that reported last.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="resolution must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 10m"
	Resolution *metav1.Duration `json:"resolution,omitempty"`
}

// DGbotAPIKeyRecord lets verifiers accept one revision of a DGbotAPIKey. It holds the hash of the key text, never the key
// text. Only the operator may write records: writing one means minting a key. Change or delete the DGbotAPIKey instead.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dgrec,categories=dgbot
// +kubebuilder:selectablefield:JSONPath=`.spec.keyID`
// +kubebuilder:selectablefield:JSONPath=`.spec.environment`
// +kubebuilder:selectablefield:JSONPath=`.spec.state`
// +kubebuilder:selectablefield:JSONPath=`.spec.apiKeyRef.uid`
// +kubebuilder:printcolumn:name="Key-ID",type=string,JSONPath=`.spec.keyID`
// +kubebuilder:printcolumn:name="Environment",type=string,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Revision",type=integer,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="Cause",type=string,JSONPath=`.spec.cause`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Last-Used",type=date,JSONPath=`.status.lastUsedAt`
// +kubebuilder:printcolumn:name="Not-After",type=string,JSONPath=`.spec.notAfter`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Label",type=string,priority=1,JSONPath=`.spec.label`
// +kubebuilder:printcolumn:name="Issued",type=string,priority=1,JSONPath=`.spec.issuedAt`
type DGbotAPIKeyRecord struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what a verifier needs to know about the revision.
	// +required
	Spec DGbotAPIKeyRecordSpec `json:"spec"`

	// status is what verifiers report about uses.
	// +optional
	Status DGbotAPIKeyRecordStatus `json:"status,omitempty"`
}

// DGbotAPIKeyRecordList is a list of DGbotAPIKeyRecords.
// +kubebuilder:object:root=true
type DGbotAPIKeyRecordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DGbotAPIKeyRecord `json:"items"`
}
