// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "dgbot.io/key-operator/api/v1alpha1"

// ownerKind holds what differs between the two kinds of owners.
type ownerKind struct {
	// maxPrevious is how many earlier revisions may verify at once.
	maxPrevious int
	// noun is what messages call the owner, and idName what they call the public name of a revision.
	noun, idName string
	// secretField and rotationField are the paths of the fields that name the Secret and the rotation.
	secretField, rotationField string
	// resource is the name of the kind for kubectl.
	resource string
	// losses are the messages about a revision that replaces a lost one, with a verb for the Secret's name.
	losses map[v1alpha1.Cause]string
}

var (
	// keyKind is a DGbotAPIKey.
	keyKind = ownerKind{
		maxPrevious: 10, noun: "key", idName: "key ID", resource: "dgkey",
		secretField: "spec.secret.name", rotationField: rotationField,
		losses: map[v1alpha1.Cause]string{
			v1alpha1.CauseSecretLost:    "Secret %q was gone; a new revision replaces it",
			v1alpha1.CauseSecretAltered: "The key in Secret %q was changed; a new revision replaces it",
			v1alpha1.CauseRecordLost:    "The record of the key in Secret %q was gone, so that the key did not verify; a new revision replaces it",
		},
	}
	// chatbotKind is a DGbotChatbot with an HMAC secret. Its Secret has room for one previous revision.
	chatbotKind = ownerKind{
		maxPrevious: 1, noun: "chatbot", idName: "kid", resource: "dgbotcb",
		secretField: "spec.identityVerification.secret.name", rotationField: "spec.identityVerification.rotation",
		losses: map[v1alpha1.Cause]string{
			v1alpha1.CauseSecretLost:    lostHMAC,
			v1alpha1.CauseSecretAltered: lostHMAC,
		},
	}
)

// lostHMAC is the message for a lost and for an altered Secret: as long as the replica holds the HMAC secret, the Secret is restored from it.
const lostHMAC = "Neither Secret %q nor its copy in namespace " + v1alpha1.IdentityNamespace +
	" has the HMAC secret any more: a new one replaces it, and tokens signed with the old one are refused"
