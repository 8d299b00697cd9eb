// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

const keyIDLength = apikey.IDLength

type keyID [keyIDLength]byte

// uid is the UID of a record: its 16 bytes, which take a quarter of the memory of its text.
type uid [16]byte

// Entry is what the index keeps of a record. Apart from its Use, an Entry is immutable once it is in the index: readers hold it
// without a lock. The order of the fields leaves no gaps and fills 128 bytes, a size class of Go's allocator: there may be a
// million entries.
type Entry struct {
	id    keyID
	state byte // an index of states; ownedBit is set if the record has an owner, derivedBit if text leaves out its name
	// nameLength is the length of the key's name, with which text begins. The name of the record consists of the first sharedLength
	// bytes of the key's name, and of the recordLength bytes of text that follow the key's name. Both are 0 with derivedBit.
	nameLength, sharedLength, recordLength uint8
	sum                                    [sha256.Size]byte
	uid                                    uid
	created                                uint32 // Unix seconds
	generation                             int32
	notAfter                               int64 // Unix seconds; never for a key without a time bound
	revision                               int64
	traits                                 unique.Handle[traits]
	// text holds the key's name, the rest of the record's name, the key's UID as packUID returns it, and the label: four strings would take
	// four allocations.
	text string
	// next is the entry of a record with the same key ID that was created later. It does not count.
	next *Entry
	use  *Use
}

// traits are values that many records share. Each combination is kept once.
type traits struct {
	environment, namespace, chatbotID, scopes string
	watch                                     int32
}

const (
	never = math.MaxInt64
	// ownedBit is set in an entry's state where the record has an owner.
	ownedBit = 0x80
	// derivedBit is set in an entry's state where the record's name is the one that follows from the key and the revision, as that of every
	// record that the operator writes. Leaving it out of text makes room for the key's UID.
	derivedBit = 0x40
	stateMask  = 0x3f
)

// newEntry returns the entry of a record. It fails if the record does not have the form that the API server enforces: no key is
// accepted because of such a record.
func newEntry(record *v1alpha1.DGbotAPIKeyRecord, watch, generation int32) (*Entry, error) {
	if err := checkForm(record); err != nil {
		return nil, err
	}
	spec := &record.Spec
	sum, err := apikey.ParseHash(spec.Hash)
	if err != nil {
		return nil, fmt.Errorf("spec.hash: %w", err)
	}
	if len(spec.KeyID) != keyIDLength {
		return nil, fmt.Errorf("spec.keyID: %d characters, want %d", len(spec.KeyID), keyIDLength)
	}
	name, keyUID := spec.APIKeyRef.Name, spec.APIKeyRef.UID
	if len(name) > math.MaxUint8 || len(record.Name) > math.MaxUint8 || len(keyUID) >= uuidMarker {
		return nil, fmt.Errorf("names of %d and %d characters and a UID of %d, want at most %d, %[4]d and %d",
			len(name), len(record.Name), len(keyUID), math.MaxUint8, uuidMarker-1)
	}
	standing := standing.Of(record)
	state := slices.Index(states[:], standing.State)
	if state < 0 {
		return nil, fmt.Errorf("spec.state: %q is not known here", standing.State)
	}
	if standing.Owned {
		state |= ownedBit
	}
	shared := sharedPrefix(name, record.Name)
	rest := record.Name[shared:]
	if record.Name == revisions.RecordName(name, keyUID, spec.Revision) {
		state, shared, rest = state|derivedBit, 0, ""
	}
	e := &Entry{
		sum: sum, uid: parseUID(record.UID), created: short(record.CreationTimestamp.Unix()), revision: spec.Revision,
		state: byte(state), notAfter: never, generation: generation, //nolint:gosec // one of three, and two bits
		traits:     unique.Make(traits{spec.Environment, record.Namespace, spec.ChatbotID, joinScopes(spec.Scopes), watch}),
		nameLength: uint8(len(name)), sharedLength: uint8(shared), recordLength: uint8(len(rest)), //nolint:gosec // looked at above
		text: name + rest + packUID(keyUID) + spec.Label,
	}
	copy(e.id[:], spec.KeyID)
	if !standing.NotAfter.IsZero() {
		e.notAfter = standing.NotAfter.Unix()
	}
	return e, nil
}

// sharedPrefix returns the length in bytes of the longest common prefix of two texts.
func sharedPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// states are the known states; an entry holds an index of this list. A record with another state has no entry.
var states = [...]v1alpha1.KeyState{v1alpha1.StateActive, v1alpha1.StateDisabled, v1alpha1.StateRevoked}

func (e *Entry) standing() standing.Standing {
	s := standing.Standing{Owned: e.state&ownedBit != 0, State: states[e.state&stateMask]}
	if e.notAfter != never {
		s.NotAfter = time.Unix(e.notAfter, 0)
	}
	return s
}

// CanBeAccepted reports whether the key is accepted at a time, or can be accepted later.
func (e *Entry) CanBeAccepted(now time.Time) bool { return !e.standing().Admit(now).IsFinal() }

// KeyID returns the ID that the text of the key contains.
func (e *Entry) KeyID() string { return string(e.id[:]) }

// Environment returns the environment of the key.
func (e *Entry) Environment() string { return e.traits.Value().environment }

// ChatbotID returns the ID of the chatbot that the key is for; empty for none.
func (e *Entry) ChatbotID() string { return e.traits.Value().chatbotID }

// Scopes returns the scopes of the key, separated by spaces.
func (e *Entry) Scopes() string { return e.traits.Value().scopes }

// Namespace returns the namespace of the record, which is that of its DGbotAPIKey.
func (e *Entry) Namespace() string { return e.traits.Value().namespace }

// Use returns when the key was used. All entries of a record share it.
func (e *Entry) Use() *Use { return e.use }

// name returns the name of the DGbotAPIKey.
func (e *Entry) name() string { return e.text[:e.nameLength] }

// RecordName returns the name of the record.
func (e *Entry) RecordName() string {
	if e.state&derivedBit != 0 {
		return revisions.RecordName(e.name(), types.UID(e.KeyUID()), e.revision)
	}
	return e.text[:e.sharedLength] + e.text[e.nameLength:int(e.nameLength)+int(e.recordLength)]
}

// KeyUID returns the UID of the DGbotAPIKey, which stays when the key is rotated.
func (e *Entry) KeyUID() string {
	key, _ := unpackUID(e.afterNames())
	return key
}

func (e *Entry) label() string {
	_, label := unpackUID(e.afterNames())
	return label
}

// afterNames returns what follows the names in text.
func (e *Entry) afterNames() string { return e.text[int(e.nameLength)+int(e.recordLength):] }

// before reports whether the entry counts rather than another one with the same key ID: its record was created first, or at the same
// second with the lower UID.
func (e *Entry) before(other *Entry) bool {
	if e.created != other.created {
		return e.created < other.created
	}
	return bytes.Compare(e.uid[:], other.uid[:]) < 0
}

// answersAs reports whether requests get the same answers from an entry as from an earlier one of the same record. An entry differs from none.
func (e *Entry) answersAs(earlier *Entry) bool {
	if earlier == nil {
		return false
	}
	compared := *e
	compared.generation, compared.next, compared.use = earlier.generation, earlier.next, earlier.use
	return compared == *earlier
}

// parseUID returns the bytes of a UUID, which keep the order of the texts that the API server writes. Of another text it returns the first
// bytes of the hash.
func parseUID(text types.UID) (u uid) {
	digits := strings.ReplaceAll(string(text), "-", "")
	if len(digits) == 2*len(u) {
		if _, err := hex.Decode(u[:], []byte(digits)); err == nil {
			return u
		}
	}
	sum := sha256.Sum256([]byte(text))
	copy(u[:], sum[:])
	return u
}

// uuidMarker is the first byte of the packed form of a UID that is a UUID.
const uuidMarker = math.MaxUint8

// packUID returns a UID in the form in which an entry holds it: uuidMarker and 16 bytes, or the length in one byte and the text if it is not a UUID
// as the API server writes one. The text has fewer than uuidMarker bytes.
func packUID(text types.UID) string {
	if u := parseUID(text); u.String() == string(text) {
		return string([]byte{uuidMarker}) + string(u[:])
	}
	return string([]byte{byte(len(text))}) + string(text) //nolint:gosec // fewer than 255
}

// unpackUID returns the UID whose packed form begins a text, and the rest of the text.
func unpackUID(text string) (key, rest string) {
	length, text := int(text[0]), text[1:]
	if length != uuidMarker {
		return text[:length], text[length:]
	}
	var u uid
	copy(u[:], text)
	return u.String(), text[len(u):]
}

// String returns the text of a UUID.
func (u uid) String() string {
	var text [36]byte
	at := 0
	for i, group := range [...][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			text[at] = '-'
			at++
		}
		at += hex.Encode(text[at:], group)
	}
	return string(text[:])
}

// joinScopes returns scopes in the form in which they are kept and sent: separated by a space, which no scope contains.
func joinScopes(scopes []v1alpha1.Scope) string {
	texts := make([]string, len(scopes))
	for i, scope := range scopes {
		texts[i] = string(scope)
	}
	return strings.Join(texts, " ")
}
