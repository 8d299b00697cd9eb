// SPDX-License-Identifier: Apache-2.0

package verify

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
	"dgbot.io/key-operator/internal/lifecycle"
)

const keyIDLength = 12

type keyID [keyIDLength]byte

// uid is a record's: the 16 bytes that its text stands for, which takes a quarter of the memory.
type uid [16]byte

// entry is what is kept of a record. But for its use it is never changed once it is in the index: readers hold it without a
// lock. Its fields are in the order that leaves no gaps; there may be a million.
type entry struct {
	id    keyID
	state byte
	owned bool
	// nameLength and recordLength are those of the names at the beginning of text.
	nameLength, recordLength uint8
	sum                      [sha256.Size]byte
	uid                      uid
	created                  int64 // Unix seconds
	notAfter                 int64 // Unix seconds; never for none
	revision                 int64
	// These three repeat from record to record, so each value is kept once.
	environment, namespace, scopes unique.Handle[string]
	// text is the names of key and record and the label, in one piece: three strings would take three pieces of memory.
	text string
	// next has the same key ID and came later: it does not count.
	next               *entry
	source, generation int32
	use                *use
}

const never = math.MaxInt64

// newEntry returns what is kept of a record. It fails where the record is not of the form that the API server enforces:
// such a record admits nothing.
func newEntry(record *v1alpha1.DGbotAPIKeyRecord) (*entry, error) {
	spec := &record.Spec
	sum, err := apikey.ParseHash(spec.Hash)
	if err != nil {
		return nil, fmt.Errorf("spec.hash: %w", err)
	}
	if len(spec.KeyID) != keyIDLength {
		return nil, fmt.Errorf("spec.keyID: %d characters, want %d", len(spec.KeyID), keyIDLength)
	}
	name := spec.APIKeyRef.Name
	if len(name) > math.MaxUint8 || len(record.Name) > math.MaxUint8 {
		return nil, fmt.Errorf("names of %d and %d characters, want at most %d", len(name), len(record.Name), math.MaxUint8)
	}
	standing := lifecycle.StandingOf(record)
	state := slices.Index(states[:], standing.State)
	if state < 0 {
		return nil, fmt.Errorf("spec.state: %q is not known here", standing.State)
	}
	e := &entry{
		sum: sum, uid: parseUID(record.UID), created: record.CreationTimestamp.Unix(), revision: spec.Revision,
		state: byte(state), //nolint:gosec // one of four
		owned: standing.Owned, notAfter: never,
		environment: unique.Make(spec.Environment), namespace: unique.Make(record.Namespace), scopes: unique.Make(joinScopes(spec.Scopes)),
		nameLength: uint8(len(name)), recordLength: uint8(len(record.Name)), //nolint:gosec // looked at above
		text: name + record.Name + spec.Label,
	}
	copy(e.id[:], spec.KeyID)
	if !standing.NotAfter.IsZero() {
		e.notAfter = standing.NotAfter.Unix()
	}
	return e, nil
}

// states by their byte in an entry. The API server makes none of them Active.
var states = [...]v1alpha1.KeyState{v1alpha1.StateActive, v1alpha1.StateDisabled, v1alpha1.StateRevoked, ""}

func (e *entry) standing() lifecycle.Standing {
	s := lifecycle.Standing{Owned: e.owned, State: states[e.state]}
	if e.notAfter != never {
		s.NotAfter = time.Unix(e.notAfter, 0)
	}
	return s
}

// name is that of the DGbotAPIKey.
func (e *entry) name() string { return e.text[:e.nameLength] }

func (e *entry) recordName() string {
	return e.text[e.nameLength : int(e.nameLength)+int(e.recordLength)]
}

func (e *entry) label() string { return e.text[int(e.nameLength)+int(e.recordLength):] }

// before says which of two records with one key ID counts: the one that was created first, then the lower uid.
func (e *entry) before(other *entry) bool {
	if e.created != other.created {
		return e.created < other.created
	}
	return bytes.Compare(e.uid[:], other.uid[:]) < 0
}

// parseUID keeps the order of UUIDs as the API server writes them. Whatever else it may write is told apart by its hash.
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
