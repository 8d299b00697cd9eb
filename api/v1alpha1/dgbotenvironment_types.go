// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DGbotEnvironmentSpec has the rules for all keys of an environment. The operator does not issue a key that breaks a rule.
// Keys that it has already issued stay valid, with the nearest permitted value, and get the condition PolicyViolation.
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || !has(self.rotation.minInterval) || size(self.rotation.minInterval) == 0 || !self.rotation.minInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.maxLifetime) || size(self.maxLifetime) == 0 || !self.maxLifetime.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.rotation.minInterval) <= duration(self.maxLifetime)",message="minInterval must not be more than maxLifetime: no key that keeps to both could be rotated",fieldPath=".rotation.minInterval"
type DGbotEnvironmentSpec struct {
	// namespaceSelector selects, by labels, the namespaces that may hold keys of this environment. Without it, all namespaces
	// may.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'] && (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",message="each of matchExpressions needs the operator In or NotIn, with values, or Exists or DoesNotExist, without",fieldPath=".matchExpressions"
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// allowedScopes are the scopes that keys of this environment may have: 1 to 64, without repeats. "a.b" allows the scope
	// a.b; "a.*" allows every scope that begins with "a.", and a.* itself; "*" allows every scope. Without it, every scope is
	// allowed. The list is atomic: a server-side apply replaces it as a whole.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, x == y))",message="allowedScopes must not name a scope twice: remove the repeated entry"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('.') && !self.endsWith('.') && !self.contains('..')",message="a scope must not have an empty segment: remove a leading, trailing or doubled dot (such as conversations.read or conversations.*)"
	AllowedScopes []Scope `json:"allowedScopes,omitempty"`

	// rotation limits how often the operator rotates keys, how long previous revisions stay valid, and when rotations may
	// happen. Without it, the spec of each key applies.
	// +optional
	Rotation *EnvironmentRotation `json:"rotation,omitempty"`

	// maxLifetime is the longest time from the creation of a key to its spec.expiresAt, which it makes required. A duration of
	// at least 1m and at most 876000h, such as 8760h (365 days). Without it, there is no limit. If a key that was already
	// issued breaks this rule, its next revisions expire that long after they were issued. The operator rotates the key before
	// each of them expires.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="maxLifetime must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 8760h (days are not a unit: 8760h is 365 days)"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`

	// maxKeysPerNamespace is how many keys of this environment a namespace may hold: 1 to 100000. Without it, there is no
	// limit. The operator issues the oldest keys, up to this number.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxKeysPerNamespace *int32 `json:"maxKeysPerNamespace,omitempty"`

	// oneKeyPerChatbot allows only one key of this environment for each chatbot. Default false. The operator issues the oldest
	// key.
	// +optional
	OneKeyPerChatbot bool `json:"oneKeyPerChatbot,omitempty"`

	// audit describes when the operator warns of, disables and revokes unused keys. Without it, the operator does none of
	// that.
	// +optional
	Audit *EnvironmentAudit `json:"audit,omitempty"`
}

// EnvironmentRotation limits how often the operator rotates the keys of an environment.
// +kubebuilder:validation:XValidation:rule="!has(self.minInterval) || size(self.minInterval) == 0 || !self.minInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.maxInterval) || size(self.maxInterval) == 0 || !self.maxInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.minInterval) <= duration(self.maxInterval)",message="minInterval must not be more than maxInterval: no key could keep to both",fieldPath=".minInterval"
// +kubebuilder:validation:XValidation:rule="!has(self.minInterval) || size(self.minInterval) == 0 || !self.minInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.defaultInterval) || size(self.defaultInterval) == 0 || !self.defaultInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.minInterval) <= duration(self.defaultInterval)",message="defaultInterval must be at least minInterval",fieldPath=".defaultInterval"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultInterval) || size(self.defaultInterval) == 0 || !self.defaultInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.maxInterval) || size(self.maxInterval) == 0 || !self.maxInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.defaultInterval) <= duration(self.maxInterval)",message="defaultInterval must be at most maxInterval",fieldPath=".defaultInterval"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultOverlap) || size(self.defaultOverlap) == 0 || !self.defaultOverlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.maxOverlap) || size(self.maxOverlap) == 0 || !self.maxOverlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.defaultOverlap) <= duration(self.maxOverlap)",message="defaultOverlap must be at most maxOverlap",fieldPath=".defaultOverlap"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultOverlap) || size(self.defaultOverlap) == 0 || !self.defaultOverlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.defaultInterval) || size(self.defaultInterval) == 0 || !self.defaultInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.defaultOverlap) < duration(self.defaultInterval)",message="defaultOverlap must be less than defaultInterval: otherwise more and more revisions verify at once",fieldPath=".defaultOverlap"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultOverlap) || size(self.defaultOverlap) == 0 || !self.defaultOverlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || !has(self.maxInterval) || size(self.maxInterval) == 0 || !self.maxInterval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.defaultOverlap) < duration(self.maxInterval)",message="defaultOverlap must be less than maxInterval: otherwise more and more revisions verify at once",fieldPath=".defaultOverlap"
type EnvironmentRotation struct {
	// defaultInterval is the interval of keys without an interval of their own. A duration of at least 1m and at most 876000h,
	// such as 2160h (90 days). Default maxInterval; without either, the operator rotates these keys only on request.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="defaultInterval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)"
	DefaultInterval *metav1.Duration `json:"defaultInterval,omitempty"`

	// minInterval is the shortest interval that a key may have. A duration of at least 1m and at most 876000h. Without it, the
	// bound of the key's own spec applies.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="minInterval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 24h (days are not a unit: 48h is 2 days)"
	MinInterval *metav1.Duration `json:"minInterval,omitempty"`

	// maxInterval is the longest interval that a key may have. A duration of at least 1m and at most 876000h. Without it, the
	// bound of the key's own spec applies.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="maxInterval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)"
	MaxInterval *metav1.Duration `json:"maxInterval,omitempty"`

	// defaultOverlap is the overlap of keys without an overlap of their own. A duration of 0s or more, at most 876000h.
	// Default 24h, or half the interval if that is shorter, and at most maxOverlap.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="defaultOverlap must be a duration of at least 0s (and at most 876000h) in h, m and s, such as 24h (days are not a unit: 48h is 2 days)"
	DefaultOverlap *metav1.Duration `json:"defaultOverlap,omitempty"`

	// maxOverlap is how long previous revisions may stay valid at most, including those that stay because they are in use. A
	// duration of 0s or more, at most 876000h. Without it, there is no limit.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="maxOverlap must be a duration of at least 0s (and at most 876000h) in h, m and s, such as 720h (days are not a unit: 720h is 30 days)"
	MaxOverlap *metav1.Duration `json:"maxOverlap,omitempty"`

	// windows are the times at which a rotation on schedule may happen: at most 16. Without windows, it may happen at any
	// time. A rotation that is due waits for the next window. Requests, revocations and the replacement of a lost Secret do
	// not wait.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Windows []RotationWindow `json:"windows,omitempty"`
}

// RotationWindow is a span of time on some days of the week.
// +kubebuilder:validation:XValidation:rule="self.start < self.end",message="end must be after start: a window that goes on after midnight is written as two, the first up to 24:00",fieldPath=".end"
type RotationWindow struct {
	// days are the days of the week, in timeZone, without repeats. Default: every day.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, x == y))",message="days must not name a day twice: remove the repeated entry"
	Days []Weekday `json:"days,omitempty"`

	// start is when the window begins on each of the days, as HH:MM. Required.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",message="start must be a time of day as HH:MM, from 00:00 to 23:59, such as 02:00"
	Start string `json:"start"`

	// end is when the window ends on the same day, as HH:MM. Required; after start; 24:00 is the end of the day.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$')",message="end must be a time of day as HH:MM, up to 24:00, such as 05:30"
	End string `json:"end"`

	// timeZone is the time zone of days, start and end: a name of the IANA time zone database, such as Europe/Berlin. Default
	// UTC. When clocks are set forward, the part of a window in the skipped hour does not exist. When clocks are set back,
	// both hours count.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",message="timeZone must be a name of the IANA time zone database, such as UTC or Europe/Berlin"
	TimeZone string `json:"timeZone,omitempty"`
}

// Weekday is a day of the week.
// +kubebuilder:validation:Enum=Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday
type Weekday string

// DGbotEnvironmentStatus is what the operator has observed of the environment.
type DGbotEnvironmentStatus struct {
	// observedGeneration is the generation of spec that this status describes. It is -1 until the operator first observes the
	// object, so that tools that follow kstatus wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are the conditions of the environment. Ready is always present. Reconciling, Stalled and SelectsNothing are
	// present only while True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// keys is the number of keys of the environment.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Keys int64 `json:"keys,omitempty"`

	// violating is the number of keys that break a rule. The operator does not issue them, or holds them to the nearest
	// permitted value.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Violating int64 `json:"violating,omitempty"`

	// audit counts the keys that an audit should look at. Absent without spec.audit.
	// +optional
	Audit *AuditSummary `json:"audit,omitempty"`
}

// DGbotEnvironment has the rules for all keys of the environment with its name. It is cluster-scoped: only users who may
// write DGbotEnvironments can change the rules.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=dgenv,categories=dgbot
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.keys`
// +kubebuilder:printcolumn:name="Violating",type=integer,JSONPath=`.status.violating`
// +kubebuilder:printcolumn:name="Unused",type=integer,JSONPath=`.status.audit.unused`
// +kubebuilder:printcolumn:name="Max-Interval",type=string,JSONPath=`.spec.rotation.maxInterval`
// +kubebuilder:printcolumn:name="Max-Lifetime",type=string,JSONPath=`.spec.maxLifetime`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Next-Stage",type=string,priority=1,JSONPath=`.status.audit.nextStageAt`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$')",message="metadata.name is the environment and must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production"
type DGbotEnvironment struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec has the rules. An empty spec makes the environment known and sets no rules.
	// +optional
	Spec DGbotEnvironmentSpec `json:"spec,omitempty"`

	// status is what the operator has observed.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DGbotEnvironmentStatus `json:"status,omitempty,omitzero"`
}

// DGbotEnvironmentList is a list of DGbotEnvironments.
// +kubebuilder:object:root=true
type DGbotEnvironmentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DGbotEnvironment `json:"items"`
}
