// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"errors"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/registration"
)

// TestRegistry_AsksLessAndLessForAVersionThatDoesNotExist: a verifier that claims one keeps its keys waiting, for as long as it renews.
func TestRegistry_AsksLessAndLessForAVersionThatDoesNotExist(t *testing.T) {
	for name, claimed := range map[string]string{"another history": "5000", "40 digits": strings.Repeat("9", 40)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			claim := func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: claimed} }
			w.renew("a", claim)
			w.withdraw("key")
			for i := range 20 * 60 {
				w.clock.SetTime(w.clock.Now().Add(doubtInterval))
				if i%100 == 0 {
					w.renew("a", claim)
				}
				w.checkVersions(t.Context())
			}
			if w.lists > 30 {
				t.Errorf("%d lists in a minute", w.lists)
			}
			w.expectWoken("it does not exist")
			if name == "another history" {
				w.version = 6000
				w.after(listInterval)
				w.expectWoken("it exists by now", "key")
			}
		})
	}
}

func TestRegistry_AsksLessAndLessIfRecordsCannotBeListed(t *testing.T) {
	w := newWorld(t)
	w.renew("a", func(r *registration.Registration) { r.Observed = map[registration.Watch]string{{}: "5000"} })
	w.withdraw("key")
	w.err = errors.New("forbidden")
	for range 20 * 60 {
		w.clock.SetTime(w.clock.Now().Add(doubtInterval))
		w.checkVersions(t.Context())
	}
	if w.lists > 30 {
		t.Errorf("%d lists in a minute", w.lists)
	}
}
