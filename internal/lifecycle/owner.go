// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

// owner is what the policy takes of the object that has revisions: a DGbotAPIKey, or a DGbotChatbot for its HMAC secret.
type owner struct {
	*ownerKind
	namespace, name string
	uid             types.UID
	generation      int64
	created         metav1.Time
	// secretName is the effective name of the Secret that revisions are published in.
	secretName string
	asks       desired
	requests   requests
	// was is what the status says from the last time.
	was summary
}

// desired is what an owner asks for. What is the operator's default is filled in where it is used.
type desired struct {
	// state is never empty.
	state       v1alpha1.KeyState
	expiresAt   *metav1.Time
	environment string
	rotation    v1alpha1.Rotation

	// label, scopes, chatbot and secret are of API keys only. chatbot is the name of the DGbotChatbot, empty for none.
	label   string
	scopes  []v1alpha1.Scope
	chatbot string
	secret  *v1alpha1.SecretSpec
}

// summary is what the status of an owner says of its revisions.
type summary struct {
	conditions []metav1.Condition
	// current has number, name, ID and times; nil where no revision is published.
	current  *Revision
	previous []*Revision
	// isBound reports whether status.binding names a Secret, which it does once a revision was published.
	isBound bool
	handled *v1alpha1.HandledRequest

	nextRotationAt *metav1.Time
	// lastUsedAt and audit are of API keys only.
	lastUsedAt *metav1.Time
	audit      *v1alpha1.AuditStatus
}

func ownerOfKey(key *v1alpha1.DGbotAPIKey, h *horizon) owner {
	asks := desiredBy(&key.Spec)
	return owner{
		ownerKind: &keyKind, namespace: key.Namespace, name: key.Name, uid: key.UID, generation: key.Generation, created: key.CreationTimestamp,
		secretName: SecretName(key), asks: asks, requests: readRequests(key.Annotations, &asks.rotation, h), was: summaryOfKey(&key.Status),
	}
}

// desiredBy returns what the spec of a key asks for.
func desiredBy(spec *v1alpha1.DGbotAPIKeySpec) desired {
	d := desired{
		state: stateOf(spec), expiresAt: spec.ExpiresAt, environment: spec.Environment,
		label: spec.Label, scopes: spec.Scopes, secret: spec.Secret,
	}
	if spec.Rotation != nil {
		d.rotation = *spec.Rotation
	}
	if spec.ChatbotRef != nil {
		d.chatbot = spec.ChatbotRef.Name
	}
	return d
}

func summaryOfKey(s *v1alpha1.DGbotAPIKeyStatus) summary {
	sum := summary{
		conditions: s.Conditions, current: revisionInStatus(s.Current), isBound: s.Binding != nil, handled: s.LastHandledRequest,
		nextRotationAt: s.NextRotationAt, lastUsedAt: s.LastUsedAt, audit: s.Audit,
	}
	for i := range s.Previous {
		sum.previous = append(sum.previous, revisionInStatus(&s.Previous[i]))
	}
	return sum
}

func revisionInStatus(r *v1alpha1.RevisionStatus) *Revision {
	if r == nil {
		return nil
	}
	return &Revision{Number: r.Revision, Name: r.RecordName, ID: r.KeyID, IssuedAt: r.IssuedAt, NotAfter: r.NotAfter}
}

// ownerOfChatbot returns the owner of a chatbot's HMAC secret. It is always Active: to end the HMAC secret is to remove
// spec.identityVerification.
func ownerOfChatbot(chatbot *v1alpha1.DGbotChatbot, s *v1alpha1.DGbotChatbotStatus, h *horizon) owner {
	asks := desired{state: v1alpha1.StateActive, environment: chatbot.Spec.Environment}
	if iv := chatbot.Spec.IdentityVerification; iv != nil && iv.Rotation != nil {
		r := iv.Rotation
		asks.rotation = v1alpha1.Rotation{Interval: r.Interval, Overlap: r.Overlap, RequestedAt: r.RequestedAt, RevokeIssuedBefore: r.RevokeIssuedBefore}
	}
	return owner{
		ownerKind: &chatbotKind, namespace: chatbot.Namespace, name: chatbot.Name, uid: chatbot.UID, generation: chatbot.Generation, created: chatbot.CreationTimestamp,
		secretName: IdentitySecretName(chatbot), asks: asks, requests: readRequests(requestsOf(chatbot), &asks.rotation, h), was: summaryOfChatbot(s),
	}
}

func summaryOfChatbot(s *v1alpha1.DGbotChatbotStatus) summary {
	sum := summary{conditions: s.Conditions, isBound: s.Binding != nil, handled: s.LastHandledRequest, nextRotationAt: s.NextRotationAt}
	if s.Current != nil {
		sum.current = revisionInLedger(s.Current, nil)
	}
	for i := range s.Previous {
		sum.previous = append(sum.previous, revisionInLedger(&s.Previous[i], nil))
	}
	return sum
}
