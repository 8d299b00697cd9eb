// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

func TestWithShortTexts_CutsWhatAnAPIServerChooses(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	var lines []string
	log := withShortTexts(funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
	log.Info("An object was ignored", "name", long, "others", 3)
	log.Error(errors.New(long), "The registration is replaced", "lease", "mine")
	log.Error(nil, "A defect", "stack", long)
	log.WithValues("source", long).WithName("eu").Info("The watch failed", "error", long)
	if len(lines) != 4 || !strings.Contains(lines[0], `"others"=3`) || !strings.Contains(lines[1], `"lease"="mine"`) {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) > 3*maxText || !strings.Contains(line, strings.Repeat("x", maxText)) {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	withShortTexts(logr.Discard()).Info("nothing")
}
