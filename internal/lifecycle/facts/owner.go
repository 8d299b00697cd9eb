// SPDX-License-Identifier: Apache-2.0

package facts

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/requests"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// Owner is what the policy takes of the object that has revisions: a DGbotAPIKey, or a DGbotChatbot for its HMAC secret.
type Owner struct {
	*Kind
	Namespace, Name string
	UID             types.UID
	Generation      int64
	Created         metav1.Time
	// SecretName is the effective name of the Secret that revisions are published in.
	SecretName string
	Asks       effective.Desired
	Requests   requests.Requests
	// Was is what the status says from the last time.
	Was Summary
}

// Summary is what the status of an owner says of its revisions.
type Summary struct {
	Conditions []metav1.Condition
	// Current has number, name, ID and times; nil where no revision is published.
	Current  *revisions.Revision
	Previous []*revisions.Revision
	// IsBound reports whether status.binding names a Secret, which it does once a revision was published.
	IsBound bool
	Handled *v1alpha1.HandledRequest

	NextRotationAt *metav1.Time
	// LastUsedAt and Audit are of API keys only.
	LastUsedAt *metav1.Time
	Audit      *v1alpha1.AuditStatus
}

// HandledRevocation returns up to when revisions have been revoked by a request; nil where none has been handled.
func (s *Summary) HandledRevocation() *metav1.Time {
	if s.Handled == nil {
		return nil
	}
	return s.Handled.RevokeIssuedBefore
}

// Kind holds what differs between the two kinds of owners.
type Kind struct {
	// MaxPrevious is how many earlier revisions may verify at once.
	MaxPrevious int
	// Noun is the kind of the owner, as messages name it, and IDName what messages call the public name of a revision.
	Noun, IDName string
	// SecretField and RotationField are the paths of the fields that name the Secret and the rotation.
	SecretField, RotationField string
	// Resource is the name of the kind for kubectl.
	Resource string
	// Losses are the messages about a revision that replaces a lost one, with a verb for the Secret's name.
	Losses map[v1alpha1.Cause]string
}

var (
	// KeyKind is a DGbotAPIKey.
	KeyKind = Kind{
		MaxPrevious: 10, Noun: v1alpha1.APIKeyKind, IDName: "key ID", Resource: "dgkey",
		SecretField: "spec.secret.name", RotationField: requests.RotationField,
		Losses: map[v1alpha1.Cause]string{
			v1alpha1.CauseSecretLost:    "Secret %q was missing: the operator issues a new revision; find out which client deleted the Secret",
			v1alpha1.CauseSecretAltered: "The key text in Secret %q was tampered with: the operator issues a new revision; find out which client changed the Secret",
			v1alpha1.CauseRecordLost:    "The record of the key in Secret %q was missing, so the key was invalid: the operator issues a new revision; find out which client deleted the record",
		},
	}
	// ChatbotKind is a DGbotChatbot with an HMAC secret. Its Secret has room for one previous revision.
	ChatbotKind = Kind{
		MaxPrevious: 1, Noun: v1alpha1.ChatbotKind, IDName: "HMAC secret ID (kid)", Resource: "dgbotcb",
		SecretField: "spec.identityVerification.secret.name", RotationField: "spec.identityVerification.rotation",
		Losses: map[v1alpha1.Cause]string{
			v1alpha1.CauseSecretLost:    lostHMAC,
			v1alpha1.CauseSecretAltered: lostHMAC,
			v1alpha1.CauseRecordLost:    "Secret %[1]q holds an HMAC secret that the status of the DGbotChatbot does not list: the operator issues a new HMAC secret" + signAgain,
		},
	}
)

// lostHMAC is the message for a lost and for an altered Secret: as long as the replica holds the HMAC secret, the Secret is restored from it.
const lostHMAC = "Neither Secret %[1]q nor its replica in namespace " + v1alpha1.IdentityNamespace +
	" holds the HMAC secret: the operator issues a new HMAC secret" + signAgain

// signAgain ends a message about a lost HMAC secret.
const signAgain = ", and the verifier rejects tokens signed with the old HMAC secret; make the servers that sign tokens read Secret %[1]q again"
