// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bytes"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/session"
)

// TestEach_TriesEveryKey, and returns one error for all.
func TestEach_TriesEveryKey(t *testing.T) {
	keys := make([]v1alpha1.DGbotAPIKey, 3)
	for i, name := range []string{"a", "b", "c"} {
		keys[i].Name = name
	}
	var tried []string
	var said bytes.Buffer
	s := &session.Session{}
	s.Streams.ErrOut = &said
	err := Each(s, keys, func(k *v1alpha1.DGbotAPIKey) error {
		tried = append(tried, k.Name)
		if k.Name == "b" {
			return nil
		}
		return exit.No("not %s", k.Name)
	})
	if len(tried) != 3 || err == nil || err.Error() != "2 of 3 keys, the first a: not a" || exit.Report(&bytes.Buffer{}, err) != exit.CodeNo ||
		said.String() != "a: not a\nc: not c\n" {
		t.Errorf("%v: %v", tried, err)
	}
}
