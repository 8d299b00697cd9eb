// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/requests"
)

// ownerOf returns the owner of a chatbot's HMAC secret. It is always Active: to end the HMAC secret is to remove
// spec.identityVerification.
func ownerOf(chatbot *v1alpha1.DGbotChatbot, s *v1alpha1.DGbotChatbotStatus, h *instant.Horizon) facts.Owner {
	asks := effective.Desired{State: v1alpha1.StateActive, Environment: chatbot.Spec.Environment}
	if iv := chatbot.Spec.IdentityVerification; iv != nil && iv.Rotation != nil {
		r := iv.Rotation
		asks.Rotation = v1alpha1.Rotation{Interval: r.Interval, Overlap: r.Overlap, RequestedAt: r.RequestedAt, RevokeIssuedBefore: r.RevokeIssuedBefore}
	}
	return facts.Owner{
		Kind: &facts.ChatbotKind, Namespace: chatbot.Namespace, Name: chatbot.Name, UID: chatbot.UID, Generation: chatbot.Generation, Created: chatbot.CreationTimestamp,
		SecretName: SecretName(chatbot), Asks: asks, Requests: requests.Read(requestsOf(chatbot), &asks.Rotation, h), Was: summaryOf(s),
	}
}

func summaryOf(s *v1alpha1.DGbotChatbotStatus) facts.Summary {
	sum := facts.Summary{Conditions: s.Conditions, IsBound: s.Binding != nil, Handled: s.LastHandledRequest, NextRotationAt: s.NextRotationAt}
	if s.Current != nil {
		sum.Current = revisionInLedger(s.Current, nil)
	}
	for i := range s.Previous {
		sum.Previous = append(sum.Previous, revisionInLedger(&s.Previous[i], nil))
	}
	return sum
}
