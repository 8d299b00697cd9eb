// SPDX-License-Identifier: Apache-2.0

package revisions

// SecretState describes who owns the Secret.
type SecretState string

const (
	// SecretAbsent: there is no Secret of that name.
	SecretAbsent SecretState = "Absent"
	// SecretOwned: its controller owner is the key, or it has none and its label names the key's uid.
	SecretOwned SecretState = "Owned"
	// SecretUnowned: its label names a uid that no key in the namespace has, and it has no owner: free to take over.
	SecretUnowned SecretState = "Unowned"
	// SecretCollectable: orphaned, but with an owner reference, so that garbage collection deletes it.
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
