// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Which states a field accepts is declared on the field and not on the type: a state that is added for keys must not
// become a state of records, which verifiers would not know.

// KeyState is the state of a DGbotAPIKey or of a DGbotAPIKeyRecord.
type KeyState string

const (
	// StateActive: the key verifies.
	StateActive KeyState = "Active"
	// StateDisabled: the key does not verify until it is Active again.
	StateDisabled KeyState = "Disabled"
	// StateRevoked: the key never verifies again.
	StateRevoked KeyState = "Revoked"
)

// DGbotAPIKeySpec says which API key is wanted. The operator never changes it.
// +kubebuilder:validation:XValidation:rule="!has(self.expiresAt) || !has(self.rotation) || !has(self.rotation.requestedAt) || !self.rotation.requestedAt.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.rotation.requestedAt).hasValue() || !self.expiresAt.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.expiresAt).hasValue() || timestamp(self.rotation.requestedAt) < timestamp(self.expiresAt)",message="requestedAt must be before expiresAt: an expired key is not rotated",fieldPath=".rotation.requestedAt"
// +kubebuilder:validation:XValidation:rule="!has(self.expiresAt) || !has(self.rotation) || !has(self.rotation.revokeIssuedBefore) || !self.rotation.revokeIssuedBefore.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.rotation.revokeIssuedBefore).hasValue() || !self.expiresAt.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.expiresAt).hasValue() || timestamp(self.rotation.revokeIssuedBefore) < timestamp(self.expiresAt)",message="revokeIssuedBefore must be before expiresAt: to end the key now, set state: Revoked",fieldPath=".rotation.revokeIssuedBefore"
type DGbotAPIKeySpec struct {
	// label is how people recognise the key: what uses it and where, such as "Production server". Required, 1 to 100
	// characters on one line, not only spaces. It may be changed at any time.
	// +required
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]')",message="label must not be blank: say what uses the key, such as \"Production server\""
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]') || !self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{034F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2065}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0D}\\x{FFA0}\\x{FFF0}-\\x{FFF8}\\x{1D159}\\x{E0000}-\\x{E0FFF}]|[^\\P{Cf}\\x{200C}\\x{200D}]')",message="label must be one line without control characters, those that are invisible or change the direction of text included"
	Label string `json:"label"`

	// environment the key belongs to, such as production, staging or development: lower-case letters, digits and
	// inner hyphens, at most 32 characters, beginning with a letter. Required, immutable: a key belongs to one
	// environment; create another DGbotAPIKey for another one. Creating a key needs the RBAC verb "use" on
	// dgbotenvironments of this name in the key's namespace.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$')",message="environment must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="environment is immutable: create another DGbotAPIKey for another environment",reason=FieldValueForbidden
	Environment string `json:"environment"`

	// chatbotRef names the chatbot that the key is for, a DGbotChatbot in the same namespace. Its ID goes onto the key's
	// records, into its Secret as chatbot-id, and into the answers of verifiers. A key waits with its first revision until
	// the chatbot has an ID; one that has been issued goes on with the ID it had, until another chatbot reserves that ID. The
	// chatbot must belong to the key's environment. Changing or removing chatbotRef needs the RBAC verb "use" on it, as scopes do.
	// +optional
	ChatbotRef *ChatbotReference `json:"chatbotRef,omitempty"`

	// scopes the key is good for: at most 32, each of them once. Without any, the key grants only what needs no scope.
	// Changing them needs the same right as creating the key and takes effect on all revisions that verify. The list is
	// atomic: a server-side apply replaces it as a whole, so no other field manager can keep a scope in it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, x == y))",message="scopes must not name a scope twice: remove the repeated entry"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('.') && !self.endsWith('.') && !self.contains('..')",message="a scope must not have an empty segment: remove a leading, trailing or doubled dot (such as conversations.read or conversations.*)"
	Scopes []Scope `json:"scopes,omitempty"`

	// state of the key. Active: it verifies; an absent state means the same. Disabled: no revision verifies, nothing is
	// issued, and requests wait; setting Active again brings the same key back. Revoked: all revisions are revoked for good;
	// setting Active again issues a new revision and revives none. The API server adds no default, so that a GitOps tool
	// sees when the field was set elsewhere. Field selectors therefore select keys without a state by spec.state= (empty)
	// and not by spec.state=Active; spec.state!=Disabled,spec.state!=Revoked selects all keys that are active.
	// +optional
	// +kubebuilder:validation:Enum=Active;Disabled;Revoked
	State KeyState `json:"state,omitempty"`

	// expiresAt ends the key: from this instant on no revision verifies and none is issued. RFC 3339 in whole
	// seconds. A key that is created with a time in the past is accepted with a warning, and never issued. Moving it
	// earlier takes effect at once on all revisions; moving it later, or removing it, issues a new revision, because a revision's own end never moves later.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="expiresAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// rotation says when the key is replaced by a new revision, and how long the earlier one goes on verifying.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// secret says where the key is published: a Secret in the same namespace.
	// +optional
	Secret *SecretSpec `json:"secret,omitempty"`
}

// Rotation says when a new revision replaces the key. Requests are levels, not triggers: applying the same time twice
// rotates once.
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || !has(self.overlap) || size(self.overlap) == 0 || !self.overlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || size(self.interval) == 0 || !self.interval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.overlap) < duration(self.interval)",message="overlap must be less than interval: otherwise more and more revisions verify at once",fieldPath=".overlap"
// +kubebuilder:validation:XValidation:rule="!has(self.retire) || self.retire != 'WhenUnused' || has(self.maxOverlap)",message="maxOverlap is required with retire: WhenUnused: it ends earlier revisions that stay in use, such as 720h",fieldPath=".maxOverlap"
// +kubebuilder:validation:XValidation:rule="!has(self.maxOverlap) || !has(self.overlap) || size(self.maxOverlap) == 0 || !self.maxOverlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || size(self.overlap) == 0 || !self.overlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.overlap) <= duration(self.maxOverlap)",message="maxOverlap must be at least overlap: it is when earlier revisions end at the latest",fieldPath=".maxOverlap"
type Rotation struct {
	// interval replaces the key on schedule: between 0.9 and 1.0 of the interval after it was issued, spread by key so
	// that not all rotate at once. A duration of at least 1m and at most 876000h, in h, m, s and ms in this order, such as
	// 2160h (90 days) or 1h30m. Without it the key is only rotated on request.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="interval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 90m or 2160h (days are not a unit: 2160h is 90 days)"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// overlap is how long earlier revisions go on verifying after a newer one is published, so that workloads can pick
	// it up. A duration of 0s or more, less than interval, at most 876000h. Default 24h, or half the interval where that is shorter.
	// Shortening it also shortens overlaps that are running; lengthening it counts from the next rotation. At most 10
	// earlier revisions verify at once; further rotations wait.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="overlap must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 24h (days are not a unit: 48h is 2 days)"
	Overlap *metav1.Duration `json:"overlap,omitempty"`

	// requestedAt asks for a rotation: the current revision must be issued after this time. RFC 3339 in whole seconds.
	// A time in the future is a one-off schedule. Without touching spec, the annotation
	// keys.dgbot.io/rotate-requested-at asks for the same; the later of the two counts, and one in the future never
	// holds back one that is due. status.lastHandledRequest.rotateRequestedAt shows when it is done.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="requestedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RequestedAt *metav1.Time `json:"requestedAt,omitempty"`

	// revokeIssuedBefore revokes, at once and for good, all revisions issued up to and including this second, and
	// replaces the current one if it is among them. Use it when a key has leaked. RFC 3339 in whole seconds; in the
	// future it does nothing until then. Without touching spec, the annotation keys.dgbot.io/revoke-issued-before asks
	// for the same. status.lastHandledRequest.revokeIssuedBefore shows when it is done.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="revokeIssuedBefore must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RevokeIssuedBefore *metav1.Time `json:"revokeIssuedBefore,omitempty"`

	// retire says when earlier revisions stop verifying. AfterOverlap: at the end of the overlap; an absent value means the same.
	// WhenUnused: once no verifier has reported a use for quietPeriod, at the end of the overlap at the earliest and of maxOverlap at
	// the latest. As long as no verifier reports, every revision counts as in use. While one is in use beyond the overlap,
	// the condition PreviousRevisionInUse names it. WhenUnused counts from the next rotation; AfterOverlap also ends what
	// is running.
	// +optional
	Retire RetirePolicy `json:"retire,omitempty"`

	// quietPeriod is, with WhenUnused, how long an earlier revision must not have been used to be retired; it counts from
	// the last use that is known, plus the resolution with which uses are reported. A duration of at most 876000h, default 1h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="quietPeriod must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 24h (days are not a unit: 48h is 2 days)"
	QuietPeriod *metav1.Duration `json:"quietPeriod,omitempty"`

	// maxOverlap is, with WhenUnused, when earlier revisions end at the latest, in use or not: it is set on them as soon as
	// a newer one is published, so that nothing depends on the operator. Required with WhenUnused; a duration of at least
	// overlap, at most 876000h. Where overlap is not set, it is no longer than this.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="maxOverlap must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 720h (days are not a unit: 720h is 30 days)"
	MaxOverlap *metav1.Duration `json:"maxOverlap,omitempty"`
}

// RetirePolicy says when earlier revisions stop verifying.
// +kubebuilder:validation:Enum=AfterOverlap;WhenUnused
type RetirePolicy string

const (
	// RetireAfterOverlap: at the end of the overlap.
	RetireAfterOverlap RetirePolicy = "AfterOverlap"
	// RetireWhenUnused: when nobody has used them for a while.
	RetireWhenUnused RetirePolicy = "WhenUnused"
)

// SecretSpec says where and how the key is published.
type SecretSpec struct {
	// name of the Secret, in the namespace of the DGbotAPIKey; by default the DGbotAPIKey's own name. Its effective
	// value is immutable. If another Secret of that name exists, it is left alone and the key is Stalled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="secret.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// key is the entry of the Secret's data that holds the API key. Default api-key; immutable.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="secret.key must be a name that an entry of a Secret may have: letters, digits, -, _ and ."
	// +kubebuilder:validation:XValidation:rule="!(self in ['key-id', 'environment', 'chatbot-id', 'type', 'provider'])",message="secret.key must not be key-id, environment, chatbot-id, type or provider: the operator publishes these beside the key"
	Key string `json:"key,omitempty"`

	// template adds labels and annotations to the Secret, such as those of a reloader. Nothing is copied from the
	// DGbotAPIKey's own metadata.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// SecretTemplate is metadata for the published Secret.
type SecretTemplate struct {
	// labels to set on the Secret, at most 32; not those of the operator or of GitOps tools. The map is atomic: a server-side
	// apply replaces it as a whole, so no other field manager can keep an entry in it.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.startsWith('argocd.argoproj.io/') || !k.matches('(?i)replicat|reflect|duplicat|mirror|propagat|kubed|synator|(^|[^a])sync'))",message="template must not set labels or annotations that make a replicator copy the Secret (names with replicat, reflect, duplicat, mirror, propagat, kubed, synator or sync): a user who may write Secrets can set them on the Secret itself"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('keys.dgbot.io/') && !k.startsWith('argocd.argoproj.io/') && !k.contains('.toolkit.fluxcd.io/') && !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/instance', 'kubectl.kubernetes.io/last-applied-configuration']))",message="template must not set keys.dgbot.io/*, app.kubernetes.io/managed-by, app.kubernetes.io/instance, argocd.argoproj.io/*, *.toolkit.fluxcd.io/* or kubectl.kubernetes.io/last-applied-configuration: they belong to the operator, Argo CD, Flux and kubectl"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations to set on the Secret, at most 32; not those of the operator or of GitOps tools. The map is atomic, as labels is:
	// an annotation may tell another controller to copy the Secret elsewhere.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.startsWith('argocd.argoproj.io/') || !k.matches('(?i)replicat|reflect|duplicat|mirror|propagat|kubed|synator|(^|[^a])sync'))",message="template must not set labels or annotations that make a replicator copy the Secret (names with replicat, reflect, duplicat, mirror, propagat, kubed, synator or sync): a user who may write Secrets can set them on the Secret itself"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('keys.dgbot.io/') && !k.startsWith('argocd.argoproj.io/') && !k.contains('.toolkit.fluxcd.io/') && !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/instance', 'kubectl.kubernetes.io/last-applied-configuration']))",message="template must not set keys.dgbot.io/*, app.kubernetes.io/managed-by, app.kubernetes.io/instance, argocd.argoproj.io/*, *.toolkit.fluxcd.io/* or kubectl.kubernetes.io/last-applied-configuration: they belong to the operator, Argo CD, Flux and kubectl"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// RevisionStatus describes one revision of the key: one issued key text.
type RevisionStatus struct {
	// revision counts the issued keys, beginning with 1. Numbers may be left out.
	// +required
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision"`

	// keyID is the public part of the key text; it stands in the key and in logs of those who verify it.
	// +required
	// +kubebuilder:validation:MaxLength=32
	KeyID string `json:"keyID"`

	// recordName is the DGbotAPIKeyRecord that makes this revision verify.
	// +required
	// +kubebuilder:validation:MaxLength=253
	RecordName string `json:"recordName"`

	// issuedAt is when the revision was issued.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	IssuedAt metav1.Time `json:"issuedAt"`

	// notAfter is when the revision stops verifying; absent while no end is set.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// lastUsedAt is when a verifier last answered that this revision is good; absent where none has reported that.
	// Uses are reported in steps of status.resolution of the revision's record, 10 minutes by default.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`
}

// DGbotAPIKeyStatus is what the operator has seen and done. It is rebuilt from the records and the Secret when lost.
type DGbotAPIKeyStatus struct {
	// observedGeneration is the generation of spec that this status is about; -1 as long as the operator has not looked at the
	// object, so that tools that follow kstatus wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the key: Ready always; Reconciling, Stalled, RequestInvalid, RequestPending,
	// PreviousRevisionInUse, PolicyViolation, EnvironmentMissing and Unused only while True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// current is the revision whose key the Secret holds. Absent while the Secret holds none of this key's revisions.
	// +optional
	Current *RevisionStatus `json:"current,omitempty"`

	// previous are the other revisions that still verify, or would if the key were not Disabled (neither revoked nor
	// past notAfter), newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Previous []RevisionStatus `json:"previous,omitempty"`

	// lastUsedAt is the newest successful use of any revision that a verifier has reported, those that have ended included.
	// Absent while no use is known: see trackedSince for what that says.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`

	// trackedSince is since when a use of the current revision would have been noticed: verifiers have reported for the
	// key's environment without a gap since then. Absent while none reports: then nothing is known about uses, and a key
	// without lastUsedAt must not be taken for unused.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	TrackedSince *metav1.Time `json:"trackedSince,omitempty"`

	// nextRotationAt is when the next revision is due: by schedule or by a request in the future, whichever is first.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextRotationAt *metav1.Time `json:"nextRotationAt,omitempty"`

	// lastHandledRequest holds the requests that are done, to wait on.
	// +optional
	LastHandledRequest *HandledRequest `json:"lastHandledRequest,omitempty"`

	// audit is how far the audit of unused keys has come with this one. Absent for a key that is not known to be unused.
	// +optional
	Audit *AuditStatus `json:"audit,omitempty"`

	// binding names the published Secret (Service Binding "provisioned service").
	// +optional
	Binding *Binding `json:"binding,omitempty"`
}

// DGbotAPIKey is an API key of DGbot, for one environment. The operator issues it, publishes it in a Secret in the
// same namespace, keeps a hashed DGbotAPIKeyRecord of each revision for verification, and rotates and revokes it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dgkey,categories=dgbot
// +kubebuilder:selectablefield:JSONPath=`.spec.environment`
// +kubebuilder:selectablefield:JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Key-ID",type=string,JSONPath=`.status.current.keyID`
// +kubebuilder:printcolumn:name="Environment",type=string,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Label",type=string,JSONPath=`.spec.label`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Last-Used",type=date,JSONPath=`.status.lastUsedAt`
// +kubebuilder:printcolumn:name="Next-Rotation",type=string,JSONPath=`.status.nextRotationAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Revision",type=integer,priority=1,JSONPath=`.status.current.revision`
// +kubebuilder:printcolumn:name="Expires",type=string,priority=1,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="(has(self.spec.secret) && has(self.spec.secret.name) ? self.spec.secret.name : self.metadata.name) == (has(oldSelf.spec.secret) && has(oldSelf.spec.secret.name) ? oldSelf.spec.secret.name : oldSelf.metadata.name)",message="secret.name is immutable: create another DGbotAPIKey to publish under another name",fieldPath=".spec.secret.name",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="(has(self.spec.secret) && has(self.spec.secret.key) ? self.spec.secret.key : 'api-key') == (has(oldSelf.spec.secret) && has(oldSelf.spec.secret.key) ? oldSelf.spec.secret.key : 'api-key')",message="secret.key is immutable: create another DGbotAPIKey to publish under another entry",fieldPath=".spec.secret.key",reason=FieldValueForbidden
type DGbotAPIKey struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which API key is wanted.
	// +required
	Spec DGbotAPIKeySpec `json:"spec"`

	// status is what the operator has seen and done.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DGbotAPIKeyStatus `json:"status,omitempty,omitzero"`
}

// DGbotAPIKeyList is a list of DGbotAPIKeys.
// +kubebuilder:object:root=true
type DGbotAPIKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DGbotAPIKey `json:"items"`
}
