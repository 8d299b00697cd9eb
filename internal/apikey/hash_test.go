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
	sum, err := ParseHash(key.Hash())
	if err != nil || sum != key.Sum() {
		t.Errorf("the hash of a key reads as %x (%v), want %x", sum, err, key.Sum())
	}
	for _, hash := range []string{"", "sha256:", key.Hash()[1:], key.Hash() + "0", strings.Replace(key.Hash(), "sha256:", "sha512:", 1), "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParseHash(hash); err == nil {
			t.Errorf("%q is taken for a hash", hash)
		}
	}
}

// Anybody can send junk to a verifier, as fast as the line takes it.
func TestJunkCostsNoMemory(t *testing.T) {
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
}
