// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestWaitingForSeveralKeys tells each as it is, and does not wait for what will not come.
func TestWaitingForSeveralKeys(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	for _, name := range []string{"a", "b", "c"} {
		s.CreateKey(name, nil)
		s.AwaitReady(name)
	}
	s.EditKey("a", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	s.AwaitNotReady("a", v1alpha1.DisabledReason)
	out, said, code := s.run("", "rotate", "a", "b", "c", "b", "--wait", "--timeout=30s")
	if code != 1 || strings.Count(out, "has revision 2") != 2 || strings.Count(out, "/b rotation requested") != 1 {
		t.Errorf("exit code %d\n%s%s", code, out, said)
	}
	if !strings.Contains(said, "a: nothing was requested: Disabled: ") || !strings.Contains(said, "1 of 3 keys, the first a") || strings.Contains(said, "not done in time") {
		t.Errorf("it says\n%s", said)
	}

	// A disabled key that leaked is revoked, and nothing is issued. No verifier runs, so that nothing is proven.
	leaked := s.KeyText("a")
	s.gives(3, leaked, leaked, []string{"not valid while it is disabled", "has no new revision (Disabled: ", "nothing is proven: VerifiersUnknown: "}, "compromise", "-", "--yes", "--wait")
	if verdict := s.Verdict(leaked); verdict != standing.Revoked {
		t.Errorf("the leaked key is %s", verdict)
	}
	s.gives(0, "", leaked, []string{"Low", "disabled: revoke it"}, "audit")
}

// TestAReaderThatHasHadEnough: 'kubectl dgbot … | head -1' ends without a word, and without having changed anything more.
func TestAReaderThatHasHadEnough(t *testing.T) {
	startOperator(t)
	s := newShell(t)
	s.CreateKey("web", nil)
	s.AwaitReady("web")
	for _, args := range [][]string{{"list"}, {"describe", "web"}, {"audit", "-o", "json"}, {"rotate", "web", "--dry-run"}} {
		reader, writer, err := os.Pipe()
		must(t, err)
		must(t, reader.Close())
		command := controlplane.Plugin(t.Context(), world.Kubeconfig, append([]string{"-n", s.Name, "--as=" + s.user}, args...)...)
		var said bytes.Buffer
		command.Stdout, command.Stderr = writer, &said
		err = command.Run()
		must(t, writer.Close())
		if err == nil || said.Len() > 0 {
			t.Errorf("%v: %v, %q", args, err, said.String())
		}
	}
	if n := s.Key("web").Status.Current.Revision; n != 1 {
		t.Errorf("revision %d", n)
	}
}
