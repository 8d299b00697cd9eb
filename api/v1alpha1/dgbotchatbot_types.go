// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DGbotChatbotSpec says which chatbot is wanted. The operator never changes it.
// +kubebuilder:validation:XValidation:rule="has(self.chatbotID) == has(oldSelf.chatbotID)",message="chatbotID is immutable: a chatbot keeps the ID it was created with; create another DGbotChatbot for another ID",fieldPath=".chatbotID",reason=FieldValueForbidden
type DGbotChatbotSpec struct {
	// displayName is how people recognise the chatbot, such as "Support bot". Required, 1 to 100 characters on one line,
	// not only spaces. It may be changed at any time.
	// +required
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]')",message="displayName must not be blank: say what people call the chatbot, such as \"Support bot\""
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[^\\pZ\\pC\\pM\\x{115F}\\x{1160}\\x{2800}\\x{3164}\\x{FFA0}]') || !self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{034F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2065}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0D}\\x{FFA0}\\x{FFF0}-\\x{FFF8}\\x{1D159}\\x{E0000}-\\x{E0FFF}]|[^\\P{Cf}\\x{200C}\\x{200D}]')",message="displayName must be one line without control characters, those that are invisible or change the direction of text included"
	DisplayName string `json:"displayName"`

	// environment the chatbot belongs to, such as production, staging or development: lower-case letters, digits and
	// inner hyphens, at most 32 characters, beginning with a letter. Required, immutable.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$')",message="environment must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="environment is immutable: create another DGbotChatbot for another environment",reason=FieldValueForbidden
	Environment string `json:"environment"`

	// chatbotID adopts an ID that exists already: 1 to 64 letters, digits, _ and -, beginning with a letter or digit.
	// Immutable. Without it an ID is issued, cb_ and 22 letters and digits, which belongs to this object for as long as
	// it exists; one that is created anew gets another ID. To keep an ID beyond that, or to move it, write it here. An
	// ID is public and unique in the cluster: the first who claims it has it. Setting it needs the RBAC verb "adopt" on
	// dgbotchatbots in the whole cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')",message="chatbotID must be 1-64 letters, digits, _ or - and begin with a letter or digit, such as cb_4f1c9a"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="chatbotID is immutable: create another DGbotChatbot for another ID",reason=FieldValueForbidden
	ChatbotID string `json:"chatbotID,omitempty"`

	// widget says where the snippet for web pages is published, and what it loads.
	// +optional
	Widget *WidgetSpec `json:"widget,omitempty"`

	// identityVerification issues an HMAC secret, with which your server vouches for who a visitor is. Without it there is
	// none, and no identity token is good for this chatbot. Removing it ends the secret at once; the Secret stays as it is, and
	// setting it again issues another one, or imports again what importFrom names.
	// +optional
	IdentityVerification *IdentityVerification `json:"identityVerification,omitempty"`
}

// IdentityVerification says which HMAC secret is wanted, and what is accepted that was signed with it.
type IdentityVerification struct {
	// rotation says when the HMAC secret is replaced, and how long the earlier one goes on verifying.
	// +optional
	Rotation *IdentityRotation `json:"rotation,omitempty"`

	// secret says where the HMAC secret is published: a Secret in the namespace of the DGbotChatbot, with the entries
	// hmac-secret (the key is its characters as they stand), kid and chatbot-id, and during an overlap
	// hmac-secret-previous and kid-previous.
	// +optional
	Secret *IdentitySecretSpec `json:"secret,omitempty"`

	// importFrom starts from an HMAC secret that you already use instead of a new one: it becomes the first revision, and
	// is read once. The Secret it comes from is not changed and may be deleted afterwards; later changes of it are ignored,
	// and the condition ImportIgnored says so within a minute. Setting it needs the right to get that Secret. It is refused
	// where a revokeIssuedBefore has come, which ends what was made before. When the secret has leaked, take it away.
	// +optional
	ImportFrom *ImportSource `json:"importFrom,omitempty"`

	// acceptPlain also accepts the plain form that chat widgets use: the hex HMAC-SHA256 of the user ID alone. It has no end
	// and names no chatbot, so whoever gets hold of one can be that visitor until the secret is rotated. Default false.
	// +optional
	AcceptPlain bool `json:"acceptPlain,omitempty"`
}

// IdentityRotation says when a new HMAC secret replaces the present one. Requests are levels, not triggers: applying the same
// time twice rotates once.
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || !has(self.overlap) || size(self.overlap) == 0 || !self.overlap.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || size(self.interval) == 0 || !self.interval.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') || duration(self.overlap) < duration(self.interval)",message="overlap must be less than interval: at most one earlier secret verifies at a time",fieldPath=".overlap"
type IdentityRotation struct {
	// interval replaces the secret on schedule: between 0.9 and 1.0 of the interval after it was issued, spread by chatbot so
	// that not all rotate at once. A duration of at least 1m and at most 876000h, in h, m, s and ms in this order, such as
	// 2160h (90 days) or 1h30m. Without it the secret is only rotated on request.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="interval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 90m or 2160h (days are not a unit: 2160h is 90 days)"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// overlap is how long the earlier secret goes on verifying after a newer one is published, so that servers can pick it up
	// and tokens that are under way stay good. A duration of 0s or more, less than interval, at most 876000h. Default 24h, or
	// half the interval where that is shorter. Shortening it also shortens an overlap that is running; lengthening it counts
	// from the next rotation. Schedule and requests wait for the end of an overlap; a revocation does not.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) <= duration('876000h')",message="overlap must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 30m or 24h (days are not a unit: 48h is 2 days)"
	Overlap *metav1.Duration `json:"overlap,omitempty"`

	// requestedAt asks for a rotation: the current secret must be issued after this time. RFC 3339 in whole seconds. A time
	// in the future is a one-off schedule. Without touching spec, the annotation keys.dgbot.io/rotate-requested-at asks for
	// the same; the later of the two counts, and one in the future never holds back one that is due.
	// status.lastHandledRequest.rotateRequestedAt shows when it is done.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="requestedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RequestedAt *metav1.Time `json:"requestedAt,omitempty"`

	// revokeIssuedBefore ends, at once and for good, all secrets issued up to and including this second, and replaces the
	// current one if it is among them. Use it when a secret has leaked. RFC 3339 in whole seconds; in the future it does
	// nothing until then. Without touching spec, the annotation keys.dgbot.io/revoke-issued-before asks for the same.
	// status.lastHandledRequest.revokeIssuedBefore shows when it is done.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && !format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')",message="revokeIssuedBefore must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z"
	RevokeIssuedBefore *metav1.Time `json:"revokeIssuedBefore,omitempty"`
}

// IdentitySecretSpec says where the HMAC secret is published.
type IdentitySecretSpec struct {
	// name of the Secret; by default the DGbotChatbot's name and "-identity". Its effective value is immutable. If another
	// Secret of that name exists, it is left alone and the chatbot is Stalled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="identityVerification.secret.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// template adds labels and annotations to the Secret, such as those of a reloader. Nothing is copied from the
	// DGbotChatbot's own metadata.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`
}

// ImportSource is an entry of a Secret in the namespace of the DGbotChatbot.
type ImportSource struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="importFrom.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name"`

	// key is the entry that holds the HMAC secret: 16 to 1024 bytes, which are taken as they stand. White space at its begin or
	// end, such as a line end, is taken as well, and the condition ImportPadded says so.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="importFrom.key must be a name that an entry of a Secret may have: letters, digits, -, _ and ."
	Key string `json:"key"`
}

// WidgetSpec says where the snippet for web pages is published, and what it loads.
type WidgetSpec struct {
	// configMapName is the ConfigMap, in the namespace of the DGbotChatbot, that holds chatbot-id and embed.html; by
	// default the DGbotChatbot's name and "-widget". Its effective value is immutable. If another ConfigMap of that name
	// exists, it is left alone and the chatbot is Stalled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="widget.configMapName must be a name that a ConfigMap may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	ConfigMapName string `json:"configMapName,omitempty"`

	// scriptURL is the script that the snippet loads, an https URL of at most 1024 characters; by default
	// https://cdn.dgbot.io/widget.js.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&()*+,;=:@%/?#-]*)?$') && isURL(self)",message="widget.scriptURL must be an https URL without a user and without characters that have to be escaped, such as https://cdn.example.com/widget.js: a page must not load scripts over a line that others can change"
	ScriptURL string `json:"scriptURL,omitempty"`
}

// ChatbotReference names a DGbotChatbot in the same namespace.
type ChatbotReference struct {
	// name of the DGbotChatbot.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="chatbotRef.name must be a name that a DGbotChatbot may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit"
	Name string `json:"name"`
}

// DGbotChatbotStatus is what the operator has seen and done. It is rebuilt when lost.
type DGbotChatbotStatus struct {
	// observedGeneration is the generation of spec that this status is about; -1 as long as the operator has not looked at the
	// object, so that tools that follow kstatus wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the chatbot: Ready always; Reconciling, Stalled, RequestInvalid, RequestPending, ImportIgnored and ImportPadded only
	// while True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// chatbotID is the public ID, once it is this chatbot's own. It goes into web pages and is no secret.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ChatbotID string `json:"chatbotID,omitempty"`

	// current is the HMAC secret that is published. Absent while there is none.
	// +optional
	Current *IdentityRevision `json:"current,omitempty"`

	// previous are the earlier HMAC secrets that still verify: one at most.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	Previous []IdentityRevision `json:"previous,omitempty"`

	// pending is an HMAC secret that is about to be published. It is here before it is anywhere else.
	// +optional
	Pending *IdentityRevision `json:"pending,omitempty"`

	// imported is the SHA-256 of what importFrom was read as: "sha256:" and 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=80
	Imported string `json:"imported,omitempty"`

	// nextRotationAt is when the next HMAC secret is due: by schedule or by a request in the future, whichever is first.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NextRotationAt *metav1.Time `json:"nextRotationAt,omitempty"`

	// lastHandledRequest holds the requests that are done, to wait on.
	// +optional
	LastHandledRequest *HandledRequest `json:"lastHandledRequest,omitempty"`

	// binding names the published Secret (Service Binding "provisioned service").
	// +optional
	Binding *Binding `json:"binding,omitempty"`
}

// IdentityRevision describes one HMAC secret, without a character of it.
type IdentityRevision struct {
	// revision counts the HMAC secrets, beginning with 1. Numbers may be left out.
	// +required
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision"`

	// kid names the HMAC secret in identity tokens: 16 hex digits that follow from it.
	// +required
	// +kubebuilder:validation:MaxLength=32
	KID string `json:"kid"`

	// hash is the HMAC secret's SHA-256, "sha256:" and 64 hex digits. What is published, and the copy in dgbot-identity, are
	// trusted only where they match it.
	// +required
	// +kubebuilder:validation:MaxLength=80
	Hash string `json:"hash"`

	// cause is why it was issued.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Cause Cause `json:"cause"`

	// issuedAt is when it was issued.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	IssuedAt metav1.Time `json:"issuedAt"`

	// notAfter is when it stops verifying; absent while no end is set.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// revoked says that it does not verify any more; it is shown until another one is published.
	// +optional
	Revoked bool `json:"revoked,omitempty"`
}

// DGbotChatbot is a chatbot: its public ID, the snippet that puts it into a web page, and the HMAC secret with which your server
// vouches for its visitors.
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

	// spec says which chatbot is wanted.
	// +required
	Spec DGbotChatbotSpec `json:"spec"`

	// status is what the operator has seen and done.
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
