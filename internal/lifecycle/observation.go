// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Observation is everything the policy looks at.
type Observation struct {
	// Key as it is in the API server.
	Key *v1alpha1.DGbotAPIKey
	// Records whose spec.apiKeyRef.uid is the key's, in any order, orphaned ones included.
	Records []v1alpha1.DGbotAPIKeyRecord
	// Secret of the key's Secret name.
	Secret Secret
	// Chatbot is the one that spec.chatbotRef names.
	Chatbot Chatbot
	// Environment is the one that spec.environment names.
	Environment Environment
	// Tracking is what the verifiers of the key's environment report about uses; nil where none does.
	Tracking *Tracking
	// Refusal is what the API server answered to the attempt to carry out a step of the last plan; nil where there was
	// none. With it Plan asks for no step of that kind, and reports it.
	Refusal *Refusal
	// Failed are the reads that failed. With any, Plan only takes away: see FailedRead.
	Failed FailedReads
	// IsServerTime is set if the time that Plan gets is the API server's, which dates records.
	IsServerTime bool
	// KeepEnded: the API server rejected the deletion of a record that expired long ago. It does no harm; the next pass
	// retries.
	KeepEnded bool
}

// Chatbot is what is known of the chatbot that a key is for.
type Chatbot struct {
	// ID is empty where there is no chatbotRef, and where the chatbot has none yet.
	ID string
	// Missing: there is no DGbotChatbot of that name.
	Missing bool
	// Environment of the chatbot; empty where it is missing.
	Environment string
	// Moved are the chatbot IDs on records of the key that another chatbot has reserved.
	Moved []string
}

// Refusal is an answer of the API server that trying again at once cannot change.
type Refusal struct {
	// Reason is SecretWriteRefused, RecordWriteRefused or RecordConflict.
	Reason string
	// Message is the API server's own, without any key.
	Message string
}

// SecretState describes who owns the Secret.
type SecretState string

const (
	// SecretAbsent: there is no Secret of that name.
	SecretAbsent SecretState = "Absent"
	// SecretOwned: its controller owner is the key, or it has none and its label names the key's uid.
	SecretOwned SecretState = "Owned"
	// SecretLeftOver: its label names a uid that no key in the namespace has, and it has no owner: free to take over.
	SecretLeftOver SecretState = "LeftOver"
	// SecretCollectable: left over, but with an owner reference, so that it is for garbage collection to delete.
	SecretCollectable SecretState = "Collectable"
	// SecretForeign: anything else. It is never touched.
	SecretForeign SecretState = "Foreign"
	// SecretUnknown: the Secret, or whether the owner that it names exists, could not be read.
	SecretUnknown SecretState = "Unknown"
)

// Secret is what is known of the Secret, without its bytes.
type Secret struct {
	State SecretState
	// Hash of the bytes under spec.secret.key; empty where that entry is missing.
	Hash string
	// KeyID is the id in those bytes where they have the form of a key of this environment; empty otherwise.
	KeyID string
	// Drifted says that metadata or entries other than the key itself differ from what the operator publishes.
	Drifted bool
	// OtherOwner: of a collectable Secret, an owner reference names another object than the owner that is gone. Garbage collection
	// deletes the Secret only once that object is gone as well.
	OtherOwner bool
}

// SecretName returns the effective name of the key's Secret.
func SecretName(key *v1alpha1.DGbotAPIKey) string {
	if key.Spec.Secret != nil && key.Spec.Secret.Name != "" {
		return key.Spec.Secret.Name
	}
	return key.Name
}

// SecretDataKey returns the effective name of the entry that holds the plaintext.
func SecretDataKey(key *v1alpha1.DGbotAPIKey) string {
	if key.Spec.Secret != nil && key.Spec.Secret.Key != "" {
		return key.Spec.Secret.Key
	}
	return v1alpha1.DefaultSecretKey
}

var trailingPunctuation = regexp.MustCompile(`[^a-z0-9]+$`)

// RecordName returns the name of a revision's record. It is a function of the key and the revision alone: of two
// instances that issue the same revision, one gets AlreadyExists. The uid tells keys of one name apart.
func RecordName(keyName string, uid types.UID, revision int64) string {
	sum := sha256.Sum256([]byte(uid))
	if len(keyName) > 230 {
		keyName = trailingPunctuation.ReplaceAllString(keyName[:230], "")
	}
	return fmt.Sprintf("%s-%s-r%d", keyName, hex.EncodeToString(sum[:4]), revision)
}

// revisionInName returns the revision that a record of the key has by its name; 0 where the name is no such. A mutating
// policy can make any number of spec.revision, and the name is taken all the same.
func revisionInName(key *v1alpha1.DGbotAPIKey, name string) int64 {
	at := strings.LastIndex(name, "-r")
	if at < 0 {
		return 0
	}
	n, err := strconv.ParseInt(name[at+len("-r"):], 10, 64)
	if err != nil || name != RecordName(key.Name, key.UID, n) {
		return 0
	}
	return n
}

// SupersededBy returns the published revision that superseded the record's, 0 if none has.
func SupersededBy(record *v1alpha1.DGbotAPIKeyRecord) int64 {
	n, err := strconv.ParseInt(record.Annotations[v1alpha1.SupersededByAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func owned(record *v1alpha1.DGbotAPIKeyRecord) bool {
	for _, owner := range record.OwnerReferences {
		if IsReferenceTo(v1alpha1.APIKeyKind, owner) && owner.UID == record.Spec.APIKeyRef.UID && owner.Name == record.Spec.APIKeyRef.Name {
			return true
		}
	}
	return false
}

// IsReferenceTo reports whether an owner reference names an object of one of our kinds, of any version.
func IsReferenceTo(kind string, owner metav1.OwnerReference) bool {
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	return err == nil && owner.Kind == kind && group.Group == v1alpha1.GroupVersion.Group
}

// Orphan reports whether a record has no owner reference to the key it names. Its key is rejected for good.
func Orphan(record *v1alpha1.DGbotAPIKeyRecord) bool { return !owned(record) }
