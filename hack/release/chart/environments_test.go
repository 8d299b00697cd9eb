// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/types"
)

// TestEnvironments_AreHooks that Argo CD skips, equal to those of config/environments, and only on request.
func TestEnvironments_AreHooks(t *testing.T) {
	without, err := rendered(t, operatorNamespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(without.Hooks) != 0 {
		t.Errorf("%d hooks without environments.create", len(without.Hooks))
	}
	release, err := rendered(t, operatorNamespace, values{"environments": values{"create": true}})
	if err != nil {
		t.Fatal(err)
	}
	for id := range objectsOf(t, release.Manifest) {
		if strings.Contains(id, " "+environmentKind+" ") {
			t.Errorf("%s is part of the release: Helm would delete it with the release, and needs its kind before it installs the CRDs", id)
		}
	}
	got, want := map[string]object{}, map[string]object{}
	for _, hook := range release.Hooks {
		maps.Copy(got, objectsOf(t, hook.Manifest))
	}
	built(t, want, types.Kustomization{}, "environments")
	if len(want) != 3 {
		t.Errorf("config/environments has %v", slices.Sorted(maps.Keys(want)))
	}
	for id, object := range got {
		metadata := object["metadata"].(map[string]any)
		take(t, id, metadata, "annotations", "helm.sh/hook", "post-install,post-upgrade")
		take(t, id, metadata, "annotations", "argocd.argoproj.io/hook", "Skip")
	}
	withoutHelm(t, got)
	equal(t, got, want)
}
