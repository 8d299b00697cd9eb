// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstructions_WorkInAnyFolder runs the printed commands with programs that record how they are called.
func TestInstructions_WorkInAnyFolder(t *testing.T) {
	root := filepath.Join(t.TempDir(), `a folder's "name" with $HOME and `+"`ls`")
	i := instructions{
		kubeconfig: filepath.Join(root, "admin.kubeconfig"), assets: filepath.Join(root, "k8s"), repository: root, verifierURL: "http://127.0.0.1:1",
	}
	record := filepath.Join(t.TempDir(), "record")
	for _, path := range []string{filepath.Join(i.assets, "kubectl"), filepath.Join(root, "bin", "curl")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		stub := "#!/bin/sh\nprintf '%s|' \"$KUBECONFIG\" " + filepath.Base(path) + " \"$@\" >>'" + record + "'; echo >>'" + record + "'; echo bm90LWEta2V5\n"
		if err := os.WriteFile(path, []byte(stub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", i.commands()+i.commands())
	command.Dir = t.TempDir()
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, i.commands(), out)
	}
	content, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		i.kubeconfig + "|kubectl|apply|-k|" + filepath.Join(root, "config", "samples") + "|",
		i.kubeconfig + "|kubectl|wait|--for=condition=Ready|dgbotapikeys|--all|-n|support|--timeout=60s|",
		i.kubeconfig + "|curl|-X|POST|-H|Authorization: Bearer not-a-key|http://127.0.0.1:1/v1/verify|",
	} {
		if got := strings.Count(string(content), want+"\n"); got != 2 {
			t.Errorf("the commands ran %d times, want twice: %s\n%s", got, want, content)
		}
	}
}
