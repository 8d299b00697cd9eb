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
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{202A}-\\x{202E}\\x{2066}-\\x{2069}]')",message="displayName must be one line without control characters, those that change the direction of text included"
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
	// observedGeneration is the generation of spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the chatbot: Ready always; Reconciling and Stalled only while True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// chatbotID is the public ID, once it is this chatbot's own. It goes into web pages and is no secret.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ChatbotID string `json:"chatbotID,omitempty"`
}

// DGbotChatbot is a chatbot: its public ID, and the snippet that puts it into a web page.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dgbotcb,categories=dgbot
// +kubebuilder:printcolumn:name="Chatbot-ID",type=string,JSONPath=`.status.chatbotID`
// +kubebuilder:printcolumn:name="Environment",type=string,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Name",type=string,JSONPath=`.spec.displayName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 240",message="metadata.name must have at most 240 characters: names of what belongs to the chatbot are made of it"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.widget) && has(self.spec.widget.configMapName) ? self.spec.widget.configMapName : self.metadata.name + '-widget') == (has(oldSelf.spec.widget) && has(oldSelf.spec.widget.configMapName) ? oldSelf.spec.widget.configMapName : oldSelf.metadata.name + '-widget')",message="widget.configMapName is immutable: create another DGbotChatbot to publish under another name",fieldPath=".spec.widget.configMapName",reason=FieldValueForbidden
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
	Status DGbotChatbotStatus `json:"status,omitempty"`
}

// DGbotChatbotList is a list of DGbotChatbots.
// +kubebuilder:object:root=true
type DGbotChatbotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DGbotChatbot `json:"items"`
}
