// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"encoding/json"
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
