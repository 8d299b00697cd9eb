// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "dgbot.io/key-operator/api/v1alpha1"

// Subject is whose revisions a plan is about. The policy is the same for all; this is what differs.
type Subject struct {
	// MaxPrevious is how many earlier revisions may verify at once.
	MaxPrevious int

	// What people call whoever has the revisions, and the public name of what is issued; and the fields that say where it is
	// published and when it is replaced.
	owner, textID, secretField, rotationField string
	// resource is what kubectl calls the kind.
	resource string

	// losses say what has happened where a revision replaces one that was lost, given the Secret's name.
	losses map[v1alpha1.Cause]string
}

var (
	// keySubject is a DGbotAPIKey.
	keySubject = Subject{
		MaxPrevious: 10, owner: "key", textID: "key ID", resource: "dgkey",
		secretField: "spec.secret.name", rotationField: "spec.rotation",
		losses: map[v1alpha1.Cause]string{
			v1alpha1.CauseSecretLost:    "Secret %q was gone; a new revision replaces it",
			v1alpha1.CauseSecretAltered: "The key in Secret %q was changed; a new revision replaces it",
			v1alpha1.CauseRecordLost:    "The record of the key in Secret %q was gone, so that the key did not verify; a new revision replaces it",
		},
	}
	// hmacSubject is the HMAC secret of a DGbotChatbot. Its Secret has room for one that was before.
	hmacSubject = Subject{
		MaxPrevious: 1, owner: "chatbot", textID: "kid", resource: "dgbotcb",
		secretField: "spec.identityVerification.secret.name", rotationField: "spec.identityVerification.rotation",
		losses: map[v1alpha1.Cause]string{
			v1alpha1.CauseSecretLost:    lostHMAC,
			v1alpha1.CauseSecretAltered: lostHMAC,
		},
	}
)

// lostHMAC is for a Secret that is gone and for one that was changed: as long as the copy has what was in it, it is put back.
const lostHMAC = "Neither Secret %q nor its copy in namespace " + v1alpha1.IdentityNamespace +
	" has the HMAC secret any more: a new one replaces it, and tokens signed with the old one are refused"

func (o *Observation) subject() *Subject {
	if o.Subject == nil {
		return &keySubject
	}
	return o.Subject
}
