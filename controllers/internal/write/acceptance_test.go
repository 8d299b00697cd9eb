// SPDX-License-Identifier: Apache-2.0

package write

import (
	"fmt"
	"testing"
	"time"
)

func TestAcceptance(t *testing.T) {
	now := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		happen func(*Acceptance)
		want   bool
	}{
		"nothing was created":                         {func(*Acceptance) {}, false},
		"an object was created":                       {func(a *Acceptance) { a.Note("team", true, now.Add(-9*time.Minute)) }, true},
		"an object was created long ago":              {func(a *Acceptance) { a.Note("team", true, now.Add(-10*time.Minute)) }, false},
		"an object was created in another namespace":  {func(a *Acceptance) { a.Note("other", true, now) }, false},
		"an object was created in the future":         {func(a *Acceptance) { a.Note("team", true, now.Add(time.Second)) }, false},
		"a creation failed":                           {func(a *Acceptance) { a.Note("team", false, now) }, false},
		"a creation failed, after another":            {func(a *Acceptance) { a.Note("team", true, now); a.Note("team", false, now) }, false},
		"an object was created after one that failed": {func(a *Acceptance) { a.Note("team", false, now.Add(-59*time.Minute)); a.Note("team", true, now) }, false},
		"an object was created an hour after one that failed": {func(a *Acceptance) {
			a.Note("team", false, now.Add(-time.Hour))
			a.Note("team", true, now)
		}, true},
	} {
		var a Acceptance
		test.happen(&a)
		if got := a.Expected("team", now); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

// TestAcceptance_ForgetsOldNamespaces, as tenants can create any number of them.
func TestAcceptance_ForgetsOldNamespaces(t *testing.T) {
	now := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	var a Acceptance
	for i := range 1000 {
		a.Note(fmt.Sprintf("team-%d", i), i%2 == 0, now)
	}
	a.Note("team", true, now.Add(rejectedFor))
	if len(a.last) != 1 || !a.Expected("team", now.Add(rejectedFor)) {
		t.Errorf("%d namespaces are kept", len(a.last))
	}
}
