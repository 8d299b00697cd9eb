// SPDX-License-Identifier: Apache-2.0

package register

import (
	"crypto/rand"
	"strings"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	// maxPodName is the length to which the name of the pod or host is cut.
	maxPodName   = 200
	randomLength = 8
	alphabet     = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// newName returns the name of a Lease that no other process has.
func newName(pod string) string { return v1alpha1.VerifierLeasePrefix + podPart(pod) + "-" + random() }

// podPart returns the name of a pod or host, as the name of an object can contain it. It leaves the name of a pod as it is up to the cut: the
// admission policy compares it with the pod that the token of this process is bound to.
func podPart(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	name = strings.TrimLeft(name[:min(len(name), maxPodName)], ".-")
	for before := ""; before != name; {
		before, name = name, strings.NewReplacer("..", ".", ".-", ".", "-.", ".").Replace(name)
	}
	if name = strings.TrimRight(name, "."); name == "" {
		return "unknown"
	}
	return name
}

// random returns random lower-case letters and digits.
func random() string {
	text := make([]byte, 0, randomLength)
	var drawn [1]byte
	for len(text) < randomLength {
		_, _ = rand.Read(drawn[:]) // never fails
		if int(drawn[0]) < 256/len(alphabet)*len(alphabet) {
			text = append(text, alphabet[int(drawn[0])%len(alphabet)])
		}
	}
	return string(text)
}
