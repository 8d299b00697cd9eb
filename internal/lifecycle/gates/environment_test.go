// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"fmt"
	"testing"
)

func TestExisting_NamesAtMostEight(t *testing.T) {
	var names []string
	for i := range 11 {
		names = append(names, fmt.Sprintf("env-%02d", 10-i))
	}
	if got, want := existing(names), "existing: env-00, env-01, env-02, env-03, env-04, env-05, env-06, env-07 and 3 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if names[0] != "env-10" {
		t.Error("the names were sorted in place: they belong to the observation")
	}
	if got := existing(nil); got != "existing: none" {
		t.Errorf("got %q", got)
	}
}
