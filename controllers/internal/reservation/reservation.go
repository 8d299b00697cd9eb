// SPDX-License-Identifier: Apache-2.0

// Package reservation describes the ConfigMap in the identity namespace that reserves a chatbot ID. Its name follows from the ID, so that the
// API server rejects the second of two chatbots that reserve it. Its chatbot is in another namespace and cannot own it: the operator deletes
// it when the chatbot is gone.
package reservation

import (
	"crypto/sha256"
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// The entries of a reservation: the ID, and the chatbot that holds it.
const (
	EntryChatbotID = "chatbotID"
	EntryNamespace = "namespace"
	EntryName      = "name"
	EntryUID       = "uid"
)

// NameOf returns the name of the reservation of a chatbot ID.
func NameOf(id string) types.NamespacedName {
	return types.NamespacedName{Namespace: v1alpha1.IdentityNamespace, Name: identity.ReservationName(id)}
}

// HolderLabel returns the value of ClaimHolderLabel on the reservations of a chatbot, whose name can be longer than a label.
func HolderLabel(chatbot types.NamespacedName) string { return shortHash(chatbot.String()) }

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// HolderOf returns the chatbot that holds a reservation.
func HolderOf(lock *corev1.ConfigMap) types.NamespacedName {
	return types.NamespacedName{Namespace: lock.Data[EntryNamespace], Name: lock.Data[EntryName]}
}
