// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"strings"
	"testing"
)

func TestHashReadsBack(t *testing.T) {
	key, err := Mint("staging")
	if err != nil {
		t.Fatal(err)
	}
	_, id, want, err := Fingerprint(key.Reveal())
	if err != nil || id != key.ID() {
		t.Errorf("the fingerprint has the ID %s (%v), want %s", id, err, key.ID())
	}
	if sum, err := ParseHash(key.Hash()); err != nil || sum != want {
		t.Errorf("the hash of a key reads as %x (%v), want %x", sum, err, want)
	}
	for _, hash := range []string{"", "sha256:", key.Hash()[1:], key.Hash() + "0", strings.Replace(key.Hash(), "sha256:", "sha512:", 1), "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParseHash(hash); err == nil {
			t.Errorf("%q is taken for a hash", hash)
		}
	}
}

// Any client can send junk to a verifier at the full speed of its connection. Valid keys can arrive as fast.
func TestNeitherJunkNorAFingerprintCostsMemory(t *testing.T) {
	key, err := Mint("staging")
	if err != nil {
		t.Fatal(err)
	}
	good := key.Reveal()
	for name, junk := range map[string]string{
		"nothing": "", "a password": "hunter2", "another prefix": "x" + good[1:], "too long": good + strings.Repeat("a", 100),
		"a wrong checksum": good[:len(good)-1] + "~", "another character": good[:len(good)-10] + "0000000000",
	} {
		if allocations := testing.AllocsPerRun(100, func() {
			if _, err := Parse(junk); err == nil {
				t.Fatalf("%s is taken for a key", name)
			}
		}); allocations != 0 {
			t.Errorf("%s costs %v allocations", name, allocations)
		}
	}
	if allocations := testing.AllocsPerRun(100, func() {
		if _, _, _, err := Fingerprint(good); err != nil {
			t.Fatal(err)
		}
	}); allocations != 0 {
		t.Errorf("a fingerprint costs %v allocations", allocations)
	}
}
