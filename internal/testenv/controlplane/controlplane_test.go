// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheControlPlaneRunsAndKubectlKnowsItsVersion(t *testing.T) {
	cluster, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := cluster.StartControllerManager(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	out, err := cluster.Kubectl(t.Context(), "version", "-o", "json").Output()
	if err != nil {
		t.Fatalf("kubectl version: %v", err)
	}
	var versions struct{ ClientVersion, ServerVersion struct{ GitVersion string } }
	if err := json.Unmarshal(out, &versions); err != nil {
		t.Fatal(err)
	}
	client, server := versions.ClientVersion.GitVersion, versions.ServerVersion.GitVersion
	if client == "" || client != server {
		t.Errorf("kubectl is %q, the API server %q", client, server)
	}
}

func TestStart_NamesTheTemporaryFolderThatIsMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("TMPDIR", missing)
	cluster, err := Start(Options{})
	if err == nil {
		t.Fatal(cluster.Stop())
	}
	if !strings.Contains(err.Error(), "temporary folder "+missing+": ") || !strings.Contains(err.Error(), "set TMPDIR to ") {
		t.Error(err)
	}
}
