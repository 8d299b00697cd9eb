// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DGbotChatbotSpec describes the chatbot that you want. The operator never changes it.
// +kubebuilder:validation:XValidation:rule="has(self.chatbotID) == has(oldSelf.chatbotID)",message="chatbotID is immutable: a chatbot keeps the ID it was created with; create another DGbotChatbot for another ID",fieldPath=".chatbotID",reason=FieldValueForbidden
type DGbotChatbotSpec struct {
	// displayName is the name by which people recognize the chatbot, such as "Support bot". Required; 1 to 100 characters on
	// one line, not blank. You can change it at any time.
	// +required
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]')",message="displayName must not be blank: say what people call the chatbot, such as \"Support bot\""
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]') || !self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{034F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2065}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0D}\\x{FFA0}\\x{FFF0}-\\x{FFF8}\\x{1D159}\\x{E0000}-\\x{E0FFF}]|[^\\P{Cf}\\x{200C}\\x{200D}]')",message="displayName must be one line without control characters, those that are invisible or change the direction of text included"
	DisplayName string `json:"displayName"`

	// environment is the environment that the chatbot belongs to, such as production, staging or development. Required; 1 to
	// 32 lower-case letters, digits and inner hyphens, beginning with a letter. Immutable: create another DGbotChatbot for
	// another environment.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$')",message="environment must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="environment is immutable: create another DGbotChatbot for another environment",reason=FieldValueForbidden
	Environment string `json:"environment"`

	// chatbotID adopts an ID that exists already: 1 to 64 letters, digits, _ and -, beginning with a letter or digit. Setting
	// it needs the RBAC verb "adopt" on dgbotchatbots in the whole cluster.
	//
	// By default the operator issues an ID: cb_ and 22 letters and digits. It belongs to this object as long as the object
	// exists; an object that is created anew gets another ID. To keep an ID for longer, or to move it, write it here. An ID is
	// public and unique in the cluster: the first chatbot that reserves it has it. Immutable: create another DGbotChatbot for
	// another ID.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')",message="chatbotID must be 1-64 letters, digits, _ or - and begin with a letter or digit, such as cb_4f1c9a"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="chatbotID is immutable: create another DGbotChatbot for another ID",reason=FieldValueForbidden
	ChatbotID string `json:"chatbotID,omitempty"`

	// widget describes where the operator publishes the snippet for web pages, and which script it loads. Without it, the
	// defaults of its fields apply.
	// +optional
	Widget *WidgetSpec `json:"widget,omitempty"`

	// identityVerification makes the operator issue an HMAC secret, with which your server signs who a visitor is. Without it,
	// the chatbot has no HMAC secret and verifiers reject every identity token for it. If you remove it, verifiers reject the
	// HMAC secret at once; the Secret stays as it is. If you set it again, the operator issues another HMAC secret, or imports
	// again what importFrom names.
	// +optional
	IdentityVerification *IdentityVerification `json:"identityVerification,omitempty"`
}

// IdentityVerification describes the HMAC secret that you want, and which signatures by it verifiers accept.
type IdentityVerification struct {
	// rotation describes when the operator issues a new HMAC secret, and how long the previous one stays valid. Without it,
	// the operator rotates only when an annotation asks for it.
	// +optional
	Rotation *IdentityRotation `json:"rotation,omitempty"`

	// secret describes where the operator publishes the HMAC secret: a Secret in the namespace of the DGbotChatbot. Its
	// entries are hmac-secret, kid and chatbot-id, and during an overlap hmac-secret-previous and kid-previous. The characters
	// of hmac-secret are the HMAC key; do not decode them. Without this field, the defaults of its fields apply.
	// +optional
	Secret *IdentitySecretSpec `json:"secret,omitempty"`

	// importFrom names an HMAC secret that you already use; it becomes the first revision. By default the operator issues a
	// new HMAC secret. Setting it needs the right to get that Secret.
	//
	// The operator reads the Secret once and does not change it; you can delete it afterwards. It ignores later changes of
	// that Secret, and within a minute sets the condition ImportIgnored. The operator rejects an import once a
	// revokeIssuedBefore is due, because that revokes every earlier secret. Remove importFrom if the secret has leaked.
	// +optional
	ImportFrom *ImportSource `json:"importFrom,omitempty"`

	// acceptPlain makes verifiers also accept the plain form that chat widgets use: the hex HMAC-SHA256 of the user ID alone.
	// Default false. The plain form does not expire and names no chatbot. A client that learns one can act as that visitor
	// until the HMAC secret is rotated.
	// +optional
	AcceptPlain bool `json:"acceptPlain,omitempty"`
}

// IdentityRotation describes when a new HMAC secret supersedes the current one. Requests are levels, not triggers: if you
// apply the same time twice, the operator rotates once.
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || !has(self.overlap) || size(self.overlap) == 0 || !self.overlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || size(self.interval) == 0 || !self.interval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.overlap) < duration(self.interval)",message="overlap must be less than interval: at most one previous secret is valid at a time",fieldPath=".overlap"
type IdentityRotation struct {
	// interval is the time between rotations on schedule. A duration of at least 1m and at most 876000h, in h, m, s and ms in
	// this order, such as 2160h (90 days) or 1h30m. Without it, the operator rotates the secret only on request. A rotation is
	// due between 0.9 and 1.0 of the interval after the secret was issued. The point differs from chatbot to chatbot, so that
	// not all rotate at once.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="interval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 90m or 2160h (days are not a unit: 2160h is 90 days)"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// overlap is how long the previous secret stays valid after the operator published a newer one. In that time servers pick
	// up the newer one, and tokens that are already signed stay valid. A duration of 0s or more, less than interval, at most
	// 876000h. Default 24h, or half the interval if that is shorter. A shorter overlap also shortens a running overlap; a
	// longer one counts from the next rotation. Schedule and requests wait for the end of an overlap; a revocation does not.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="overlap must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 24h (days are not a unit: 48h is 2 days)"
	Overlap *metav1.Duration `json:"overlap,omitempty"`

	// requestedAt asks for a rotation: the current secret must be issued after this time. A time in RFC 3339 with whole
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

	// revokeIssuedBefore revokes, at once and for good, all secrets issued up to and including this second. If the current
	// secret is among them, the operator issues a new one. Use it when a secret has leaked. A time in RFC 3339 with whole
	// seconds. By default nothing is revoked. A time in the future does nothing until then. The annotation
	// keys.dgbot.io/revoke-issued-before makes the same request without a change of spec. When the request is done,
	// status.lastHandledRequest.revokeIssuedBefore has its time.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="revokeIssuedBefore must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RevokeIssuedBefore *metav1.Time `json:"revokeIssuedBefore,omitempty"`
}

// IdentitySecretSpec describes where the operator publishes the HMAC secret.
type IdentitySecretSpec struct {
	// name is the name of the Secret. At most 253 characters: lower-case letters, digits, - and . (a DNS subdomain). Default:
	// the name of the DGbotChatbot and "-identity". Its effective value is immutable. If a foreign Secret has this name, the
	// operator does not change it and the chatbot is Stalled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="identityVerification.secret.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// template has labels and annotations that the operator adds to the Secret, such as those of a reloader. Default: none.
	// The operator copies nothing from the metadata of the DGbotChatbot.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`
}

// ImportSource names an entry of a Secret in the namespace of the DGbotChatbot.
type ImportSource struct {
	// name is the name of the Secret. Required; at most 253 characters: lower-case letters, digits, - and . (a DNS subdomain).
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="importFrom.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name"`

	// key is the entry that holds the HMAC secret: 16 to 1024 bytes. Required. The operator takes the bytes unchanged,
	// including white space at the beginning or end, such as a line end. In that case it sets the condition ImportPadded.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="importFrom.key must be a name that an entry of a Secret may have: letters, digits, -, _ and ."
	Key string `json:"key"`
}

// WidgetSpec describes where the operator publishes the snippet for web pages, and which script it loads.
type WidgetSpec struct {
	// configMapName is the name of the ConfigMap, in the namespace of the DGbotChatbot, that holds chatbot-id and embed.html.
	// At most 253 characters: lower-case letters, digits, - and . (a DNS subdomain). Default: the name of the DGbotChatbot and
	// "-widget". Its effective value is immutable. If a foreign ConfigMap has this name, the operator does not change it and the
	// chatbot is Stalled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="widget.configMapName must be a name that a ConfigMap may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	ConfigMapName string `json:"configMapName,omitempty"`

	// scriptURL is the script that the snippet loads: an https URL of at most 1024 characters. Default
	// https://cdn.dgbot.io/widget.js.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&()*+,;=:@%/?#-]*)?$') && isURL(self)",message="widget.scriptURL must be an https URL without a user and without characters that have to be escaped, such as https://cdn.example.com/widget.js: a page must not load scripts over a line that others can change"
	ScriptURL string `json:"scriptURL,omitempty"`
}

// ChatbotReference names a DGbotChatbot in the same namespace.
type ChatbotReference struct {
	// name is the name of the DGbotChatbot. Required.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="chatbotRef.name must be a name that a DGbotChatbot may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name"`
}

// DGbotChatbotStatus is what the operator has observed and done. If it is lost, the operator rebuilds it.
type DGbotChatbotStatus struct {
	// observedGeneration is the generation of spec that this status describes. It is -1 until the operator first observes the
	// object, so that tools that follow kstatus wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are the conditions of the chatbot. Ready is always present. Reconciling, Stalled, RequestInvalid,
	// RequestPending, ImportIgnored and ImportPadded are present only while True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// chatbotID is the public ID, once this chatbot has reserved it. Web pages carry it; it is not a secret.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ChatbotID string `json:"chatbotID,omitempty"`

	// current is the published HMAC secret. Absent while there is none.
	// +optional
	Current *IdentityRevision `json:"current,omitempty"`

	// previous are the previous HMAC secrets that are still valid: at most one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	Previous []IdentityRevision `json:"previous,omitempty"`

	// pending is an HMAC secret that the operator is about to publish. The operator writes it here before it writes it
	// anywhere else.
	// +optional
	Pending *IdentityRevision `json:"pending,omitempty"`

	// imported is the SHA-256 of the bytes that the operator read from importFrom: "sha256:" and 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=80
	Imported string `json:"imported,omitempty"`

	// nextRotationAt is when the next HMAC secret is due: by schedule or by a request in the future, whichever is first.
	// Absent if no rotation is planned.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextRotationAt *metav1.Time `json:"nextRotationAt,omitempty"`

	// lastHandledRequest has the requests that the operator has carried out. Clients can wait for it.
	// +optional
	LastHandledRequest *HandledRequest `json:"lastHandledRequest,omitempty"`

	// binding names the published Secret, as a Service Binding "provisioned service".
	// +optional
	Binding *Binding `json:"binding,omitempty"`
}

// IdentityRevision describes one HMAC secret. It has no character of the secret.
type IdentityRevision struct {
	// revision is the number of the HMAC secret. The first is 1; the operator can skip numbers.
	// +required
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision"`

	// kid names the HMAC secret in identity tokens: 16 hex digits, computed from the secret.
	// +required
	// +kubebuilder:validation:MaxLength=32
	KID string `json:"kid"`

	// hash is the SHA-256 of the HMAC secret: "sha256:" and 64 hex digits. The operator trusts the published Secret and the
	// replica in dgbot-identity only if they match it.
	// +required
	// +kubebuilder:validation:MaxLength=80
	Hash string `json:"hash"`

	// cause is why the operator issued it.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Cause Cause `json:"cause"`

	// issuedAt is when the operator issued it.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	IssuedAt metav1.Time `json:"issuedAt"`

	// notAfter is the instant from which on verifiers reject it. Absent while there is no such bound.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// revoked reports that verifiers reject it for good. The status shows it until the operator publishes another one.
	// +optional
	Revoked bool `json:"revoked,omitempty"`
}

// DGbotChatbot is a chatbot: its public ID, the snippet that embeds it in a web page, and the HMAC secret with which your
// server signs who a visitor is.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dgbotcb;dgcb,categories=dgbot
// +kubebuilder:printcolumn:name="Chatbot-ID",type=string,JSONPath=`.status.chatbotID`
// +kubebuilder:printcolumn:name="Environment",type=string,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Name",type=string,JSONPath=`.spec.displayName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="KID",type=string,priority=1,JSONPath=`.status.current.kid`
// +kubebuilder:printcolumn:name="Next-Rotation",type=string,priority=1,JSONPath=`.status.nextRotationAt`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 240",message="metadata.name must have at most 240 characters: names of what belongs to the chatbot are made of it"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.widget) && has(self.spec.widget.configMapName) ? self.spec.widget.configMapName : self.metadata.name + '-widget') == (has(oldSelf.spec.widget) && has(oldSelf.spec.widget.configMapName) ? oldSelf.spec.widget.configMapName : oldSelf.metadata.name + '-widget')",message="widget.configMapName is immutable: create another DGbotChatbot to publish under another name",fieldPath=".spec.widget.configMapName",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(self.spec.identityVerification) || !has(oldSelf.spec.identityVerification) || (has(self.spec.identityVerification.secret) && has(self.spec.identityVerification.secret.name) ? self.spec.identityVerification.secret.name : self.metadata.name + '-identity') == (has(oldSelf.spec.identityVerification.secret) && has(oldSelf.spec.identityVerification.secret.name) ? oldSelf.spec.identityVerification.secret.name : oldSelf.metadata.name + '-identity')",message="identityVerification.secret.name is immutable: create another DGbotChatbot to publish under another name",fieldPath=".spec.identityVerification.secret.name",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(self.spec.identityVerification) || !has(self.spec.identityVerification.importFrom) || self.spec.identityVerification.importFrom.name != (has(self.spec.identityVerification.secret) && has(self.spec.identityVerification.secret.name) ? self.spec.identityVerification.secret.name : self.metadata.name + '-identity')",message="importFrom.name must be another Secret than the one that is published: set identityVerification.secret.name to a name that is free",fieldPath=".spec.identityVerification.importFrom.name"
type DGbotChatbot struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes the chatbot that you want.
	// +required
	Spec DGbotChatbotSpec `json:"spec"`

	// status is what the operator has observed and done.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DGbotChatbotStatus `json:"status,omitempty,omitzero"`
}

// DGbotChatbotList is a list of DGbotChatbots.
// +kubebuilder:object:root=true
type DGbotChatbotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DGbotChatbot `json:"items"`
}
