// SPDX-License-Identifier: Apache-2.0

package lifecycle

// Subject is whose revisions a plan is about. The policy is the same for all; this is what differs.
type Subject struct {
	// MaxPrevious is how many earlier revisions may verify at once.
	MaxPrevious int

	// What people call whoever has the revisions, and the public name of what is issued; and the fields that say where it is
	// published and when it is replaced.
	owner, textID, secretField, rotationField string
}

var (
	// keySubject is a DGbotAPIKey.
	keySubject = Subject{MaxPrevious: 10, owner: "key", textID: "key ID", secretField: "spec.secret.name", rotationField: "spec.rotation"}
	// hmacSubject is the HMAC secret of a DGbotChatbot. Its Secret has room for one that was before.
	hmacSubject = Subject{
		MaxPrevious: 1, owner: "chatbot", textID: "kid",
		secretField: "spec.identityVerification.secret.name", rotationField: "spec.identityVerification.rotation",
	}
)

func (o *Observation) subject() *Subject {
	if o.Subject == nil {
		return &keySubject
	}
	return o.Subject
}
