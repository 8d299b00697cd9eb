// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Each field declares the states that it accepts; the type does not. A state that is added for keys must not become a
// state of records, because verifiers would not know it.

// KeyState is the state of a DGbotAPIKey or of a DGbotAPIKeyRecord.
type KeyState string

const (
	// StateActive: verifiers accept the key.
	StateActive KeyState = "Active"
	// StateDisabled: verifiers reject the key until it is Active again.
	StateDisabled KeyState = "Disabled"
	// StateRevoked: verifiers reject the key for good.
	StateRevoked KeyState = "Revoked"
)

// DGbotAPIKeySpec describes the API key that you want. The operator never changes it.
// +kubebuilder:validation:XValidation:rule="!has(self.expiresAt) || !has(self.rotation) || !has(self.rotation.requestedAt) || !self.rotation.requestedAt.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.rotation.requestedAt).hasValue() || !self.expiresAt.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.expiresAt).hasValue() || timestamp(self.rotation.requestedAt) < timestamp(self.expiresAt)",message="requestedAt must be before expiresAt: an expired key is not rotated",fieldPath=".rotation.requestedAt"
// +kubebuilder:validation:XValidation:rule="!has(self.expiresAt) || !has(self.rotation) || !has(self.rotation.revokeIssuedBefore) || !self.rotation.revokeIssuedBefore.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.rotation.revokeIssuedBefore).hasValue() || !self.expiresAt.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') || format.datetime().validate(self.expiresAt).hasValue() || timestamp(self.rotation.revokeIssuedBefore) < timestamp(self.expiresAt)",message="revokeIssuedBefore must be before expiresAt: to end the key now, set state: Revoked",fieldPath=".rotation.revokeIssuedBefore"
type DGbotAPIKeySpec struct {
	// label is the name by which people recognize the key: what uses it and where, such as "Production server". Required; 1 to
	// 100 characters on one line, not blank. You can change it at any time.
	// +required
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]')",message="label must not be blank: say what uses the key, such as \"Production server\""
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]') || !self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{034F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2065}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0D}\\x{FFA0}\\x{FFF0}-\\x{FFF8}\\x{1D159}\\x{E0000}-\\x{E0FFF}]|[^\\P{Cf}\\x{200C}\\x{200D}]')",message="label must be one line without control characters, those that are invisible or change the direction of text included"
	Label string `json:"label"`

	// environment is the environment that the key belongs to, such as production, staging or development. Required; 1 to 32
	// lower-case letters, digits and inner hyphens, beginning with a letter. Creating a key needs the RBAC verb "use" on
	// dgbotenvironments of this name in the key's namespace. Immutable: create another DGbotAPIKey for another environment.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$')",message="environment must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="environment is immutable: create another DGbotAPIKey for another environment",reason=FieldValueForbidden
	Environment string `json:"environment"`

	// chatbotRef names the chatbot that the key is for: a DGbotChatbot in the same namespace and of the same environment. The
	// operator writes the chatbot's ID to the key's records, and to its Secret as chatbot-id. Verifiers return the ID in their
	// answers. By default the key is for no chatbot. The operator issues the first revision when the chatbot has an ID. Later
	// the key keeps the ID that it had, until another chatbot reserves that ID. Changing or removing chatbotRef needs the RBAC
	// verb "use" on the environment, as scopes do.
	// +optional
	ChatbotRef *ChatbotReference `json:"chatbotRef,omitempty"`

	// scopes are the permissions of the key: at most 32, without repeats. Without scopes, the key grants only what needs no
	// scope. Changing them needs the same RBAC verb as creating the key. A change takes effect on all valid revisions. The
	// list is atomic: a server-side apply replaces it as a whole, so no other field manager can keep a scope in it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, x == y))",message="scopes must not name a scope twice: remove the repeated entry"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('.') && !self.endsWith('.') && !self.contains('..')",message="a scope must not have an empty segment: remove a leading, trailing or doubled dot (such as conversations.read or conversations.*)"
	Scopes []Scope `json:"scopes,omitempty"`

	// state is the state of the key: Active, Disabled or Revoked. An absent state means Active.
	//
	// Active: verifiers accept the key. Disabled: verifiers reject all revisions, the operator issues nothing, and requests
	// wait; Active makes the same key valid again. Revoked: the operator revokes all revisions for good; Active issues a new
	// revision and restores no earlier one.
	//
	// The API server sets no default, so that a GitOps tool sees when another client set the field. Field selectors therefore
	// select keys without a state by spec.state= (empty) and not by spec.state=Active. The selector
	// spec.state!=Disabled,spec.state!=Revoked selects all active keys.
	// +optional
	// +kubebuilder:validation:Enum=Active;Disabled;Revoked
	State KeyState `json:"state,omitempty"`

	// expiresAt is the instant at which the key expires. From then on verifiers reject all its revisions and the operator
	// issues none. A time in RFC 3339 with whole seconds. By default the key does not expire. The API server accepts a new key
	// whose time is in the past, with a warning; the operator never issues it. An earlier time takes effect at once on all
	// revisions. If you set a later time or remove it, the operator issues a new revision, because the notAfter of a revision
	// never moves later.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="expiresAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// rotation describes when the operator issues a new revision, and how long the previous one stays valid. Without it, the
	// operator does not rotate the key, unless an annotation or the DGbotEnvironment asks for a rotation.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// secret describes where the operator publishes the key: a Secret in the same namespace. By default the Secret has the
	// name of the DGbotAPIKey, and the key text is in its entry api-key.
	// +optional
	Secret *SecretSpec `json:"secret,omitempty"`
}

// Rotation describes when a new revision supersedes the current one. Requests are levels, not triggers: if you apply the
// same time twice, the operator rotates once.
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || !has(self.overlap) || size(self.overlap) == 0 || !self.overlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || size(self.interval) == 0 || !self.interval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.overlap) < duration(self.interval)",message="overlap must be less than interval: otherwise more and more revisions verify at once",fieldPath=".overlap"
// +kubebuilder:validation:XValidation:rule="!has(self.retire) || self.retire != 'WhenUnused' || has(self.maxOverlap)",message="maxOverlap is required with retire: WhenUnused: it ends earlier revisions that stay in use, such as 720h",fieldPath=".maxOverlap"
// +kubebuilder:validation:XValidation:rule="!has(self.maxOverlap) || !has(self.overlap) || size(self.maxOverlap) == 0 || !self.maxOverlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || size(self.overlap) == 0 || !self.overlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.overlap) <= duration(self.maxOverlap)",message="maxOverlap must be at least overlap: it is when earlier revisions end at the latest",fieldPath=".maxOverlap"
type Rotation struct {
	// interval is the time between rotations on schedule. A duration of at least 1m and at most 876000h, in h, m, s and ms in
	// this order, such as 2160h (90 days) or 1h30m. Without it, the operator rotates the key only on request, unless the
	// DGbotEnvironment sets an interval. A rotation is due between 0.9 and 1.0 of the interval after the revision was issued.
	// The point differs from key to key, so that not all keys rotate at once.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="interval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 90m or 2160h (days are not a unit: 2160h is 90 days)"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// overlap is how long previous revisions stay valid after the operator published a newer one, so that workloads can pick
	// it up. A duration of 0s or more, less than interval, at most 876000h. Default 24h, or half the interval if that is
	// shorter. A shorter overlap also shortens running overlaps; a longer one counts from the next rotation. At most 10
	// previous revisions are valid at once; further rotations wait.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="overlap must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 24h (days are not a unit: 48h is 2 days)"
	Overlap *metav1.Duration `json:"overlap,omitempty"`

	// requestedAt asks for a rotation: the current revision must be issued after this time. A time in RFC 3339 with whole
	// seconds. By default no rotation is requested. A time in the future is a one-off schedule. The annotation
	// keys.dgbot.io/rotate-requested-at makes the same request without a change of spec. Of the two, the later one that is due
	// counts; one in the future does not delay one that is due. When the request is done,
	// status.lastHandledRequest.rotateRequestedAt has its time.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="requestedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RequestedAt *metav1.Time `json:"requestedAt,omitempty"`

	// revokeIssuedBefore revokes, at once and for good, all revisions issued up to and including this second. If the current
	// revision is among them, the operator issues a new one. Use it when a key has leaked. A time in RFC 3339 with whole
	// seconds. By default nothing is revoked. A time in the future does nothing until then. The annotation
	// keys.dgbot.io/revoke-issued-before makes the same request without a change of spec. When the request is done,
	// status.lastHandledRequest.revokeIssuedBefore has its time.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="revokeIssuedBefore must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RevokeIssuedBefore *metav1.Time `json:"revokeIssuedBefore,omitempty"`

	// retire is when previous revisions become invalid: AfterOverlap or WhenUnused. An absent value means AfterOverlap.
	//
	// AfterOverlap: at the end of the overlap. WhenUnused: when no verifier has reported a use for quietPeriod, but not before
	// the end of overlap and not after the end of maxOverlap. While no verifier reports, every revision counts as in use.
	// While a revision is in use beyond the overlap, the condition PreviousRevisionInUse names it.
	//
	// A change to WhenUnused counts from the next rotation. A change to AfterOverlap also ends running overlaps.
	// +optional
	Retire RetirePolicy `json:"retire,omitempty"`

	// quietPeriod is, with WhenUnused, how long a previous revision must be unused before it becomes invalid. It counts from
	// the last known use, plus the resolution with which verifiers report uses. A duration of 0s or more, at most 876000h.
	// Default 1h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="quietPeriod must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 24h (days are not a unit: 48h is 2 days)"
	QuietPeriod *metav1.Duration `json:"quietPeriod,omitempty"`

	// maxOverlap is, with WhenUnused, how long previous revisions stay valid at most, in use or not. Required with WhenUnused;
	// a duration of at least overlap, at most 876000h. The operator sets this bound on previous revisions when it publishes a
	// newer one. The bound therefore holds without the operator. The default overlap is never longer than maxOverlap.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="maxOverlap must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 720h (days are not a unit: 720h is 30 days)"
	MaxOverlap *metav1.Duration `json:"maxOverlap,omitempty"`
}

// RetirePolicy is when previous revisions become invalid.
// +kubebuilder:validation:Enum=AfterOverlap;WhenUnused
type RetirePolicy string

const (
	// RetireAfterOverlap: at the end of the overlap.
	RetireAfterOverlap RetirePolicy = "AfterOverlap"
	// RetireWhenUnused: when no verifier has reported a use for quietPeriod.
	RetireWhenUnused RetirePolicy = "WhenUnused"
)

// SecretSpec describes where and how the operator publishes the key.
type SecretSpec struct {
	// name is the name of the Secret, in the namespace of the DGbotAPIKey. At most 253 characters: lower-case letters, digits,
	// - and . (a DNS subdomain). Default: the name of the DGbotAPIKey. Its effective value is immutable. If a foreign Secret
	// has this name, the operator does not change it and the key is Stalled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="secret.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// key is the entry of the Secret's data that holds the key text. At most 253 letters, digits, -, _ and .; not the name of
	// another entry that the operator publishes. Default api-key. Its effective value is immutable.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="secret.key must be a name that an entry of a Secret may have: letters, digits, -, _ and ."
	// +kubebuilder:validation:XValidation:rule="!(self in ['key-id', 'environment', 'chatbot-id', 'type', 'provider'])",message="secret.key must not be key-id, environment, chatbot-id, type or provider: the operator publishes these beside the key"
	Key string `json:"key,omitempty"`

	// template has labels and annotations that the operator adds to the Secret, such as those of a reloader. Default: none.
	// The operator copies nothing from the metadata of the DGbotAPIKey.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`
}

// LabelValue is the value of a label: at most 63 characters.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation: at most 4096 characters.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// SecretTemplate has metadata for the published Secret.
type SecretTemplate struct {
	// labels are the labels that the operator sets on the Secret: at most 32, none that belongs to the operator, a GitOps tool
	// or a replicator. Default: none. The map is atomic: a server-side apply replaces it as a whole, so no other field manager
	// can keep an entry in it.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.startsWith('argocd.argoproj.io/') || !k.matches('(?i)replicat|reflect|duplicat|mirror|propagat|kubed|synator|(^|[^a])sync'))",message="template must not set labels or annotations that make a replicator copy the Secret (names with replicat, reflect, duplicat, mirror, propagat, kubed, synator or sync): a user who may write Secrets can set them on the Secret itself"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('keys.dgbot.io/') && !k.startsWith('argocd.argoproj.io/') && !k.contains('.toolkit.fluxcd.io/') && !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/instance', 'kubectl.kubernetes.io/last-applied-configuration']))",message="template must not set keys.dgbot.io/*, app.kubernetes.io/managed-by, app.kubernetes.io/instance, argocd.argoproj.io/*, *.toolkit.fluxcd.io/* or kubectl.kubernetes.io/last-applied-configuration: they belong to the operator, Argo CD, Flux and kubectl"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are the annotations that the operator sets on the Secret: at most 32, none that belongs to the operator, a
	// GitOps tool or a replicator. Default: none. The map is atomic, as labels is: an annotation can tell another controller
	// to copy the Secret elsewhere.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.startsWith('argocd.argoproj.io/') || !k.matches('(?i)replicat|reflect|duplicat|mirror|propagat|kubed|synator|(^|[^a])sync'))",message="template must not set labels or annotations that make a replicator copy the Secret (names with replicat, reflect, duplicat, mirror, propagat, kubed, synator or sync): a user who may write Secrets can set them on the Secret itself"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('keys.dgbot.io/') && !k.startsWith('argocd.argoproj.io/') && !k.contains('.toolkit.fluxcd.io/') && !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/instance', 'kubectl.kubernetes.io/last-applied-configuration']))",message="template must not set keys.dgbot.io/*, app.kubernetes.io/managed-by, app.kubernetes.io/instance, argocd.argoproj.io/*, *.toolkit.fluxcd.io/* or kubectl.kubernetes.io/last-applied-configuration: they belong to the operator, Argo CD, Flux and kubectl"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// DGbotAPIKeyStatus is what the operator has observed and done. If it is lost, the operator rebuilds it from the records
// and the Secret.
type DGbotAPIKeyStatus struct {
	// observedGeneration is the generation of spec that this status describes. It is -1 until the operator first observes the
	// object, so that tools that follow kstatus wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are the conditions of the key. Ready is always present. Reconciling, Stalled, RequestInvalid, RequestPending,
	// PreviousRevisionInUse, PolicyViolation, EnvironmentMissing, Unused and PropagationPending are present only while True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// current is the revision whose key text the Secret holds. Absent while the Secret holds no revision of this key. After its
	// record was deleted, it stays until a new revision is issued: the next number follows from it.
	// +optional
	Current *RevisionStatus `json:"current,omitempty"`

	// previous are the other revisions that are neither revoked nor past notAfter, newest first. They are valid unless the key
	// is Disabled.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Previous []RevisionStatus `json:"previous,omitempty"`

	// lastUsedAt is the newest successful use that a verifier has reported of any revision, including expired and revoked
	// ones. Absent while no use is known; trackedSince tells what that means.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`

	// trackedSince is the time since which verifiers have reported every use of the current revision: they have reported for
	// the key's environment without a gap. Absent while no verifier reports. Uses are then unknown, so a key without
	// lastUsedAt can still be in use.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	TrackedSince *metav1.Time `json:"trackedSince,omitempty"`

	// nextRotationAt is when the next revision is due: by schedule or by a request in the future, whichever is first. Absent
	// if no rotation is planned.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextRotationAt *metav1.Time `json:"nextRotationAt,omitempty"`

	// lastHandledRequest has the requests that the operator has carried out. Clients can wait for it.
	// +optional
	LastHandledRequest *HandledRequest `json:"lastHandledRequest,omitempty"`

	// audit is how far the audit of unused keys has gone with this key. Absent unless the key is known to be unused.
	// +optional
	Audit *AuditStatus `json:"audit,omitempty"`

	// propagation is how far registered verifiers have followed the last withdrawal. Absent before the first one, and again
	// when a Disabled key becomes Active.
	// +optional
	Propagation *Propagation `json:"propagation,omitempty"`

	// binding names the published Secret, as a Service Binding "provisioned service".
	// +optional
	Binding *Binding `json:"binding,omitempty"`
}

// DGbotAPIKey is an API key of DGbot for one environment. The operator issues it and publishes it in a Secret in the same
// namespace. For verification it keeps a hashed DGbotAPIKeyRecord of each revision. It rotates and revokes the key.
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

	// spec describes the API key that you want.
	// +required
	Spec DGbotAPIKeySpec `json:"spec"`

	// status is what the operator has observed and done.
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
