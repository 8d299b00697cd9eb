// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// TestTheConfigMapHasTheScripts: what is applied to argocd-cm is what the other tests have run, under the keys that Argo CD reads.
func TestTheConfigMapHasTheScripts(t *testing.T) {
	configMap := readYAML[corev1.ConfigMap](t, filepath.Join(customizations, "..", "argocd-cm.yaml"))
	for _, kind := range kinds {
		if configMap.Data["resource.customizations.health.keys.dgbot.io_"+kind] != read(t, filepath.Join(customizations, kind, "health.lua")) {
			t.Errorf("the health check of %s is not health.lua: run 'make generate'", kind)
		}
	}
	for _, kind := range withActions {
		var actions struct {
			Discovery   string `json:"discovery.lua"`
			Definitions []struct {
				Name   string `json:"name"`
				Action string `json:"action.lua"`
			} `json:"definitions"`
		}
		if err := yaml.UnmarshalStrict([]byte(configMap.Data["resource.customizations.actions.keys.dgbot.io_"+kind]), &actions); err != nil {
			t.Fatal(err)
		}
		if actions.Discovery != read(t, filepath.Join(actionsFolder(kind), "discovery.lua")) {
			t.Errorf("discovery.lua of %s is another: run 'make generate'", kind)
		}
		var names []string
		for _, definition := range actions.Definitions {
			names = append(names, definition.Name)
			if definition.Action != read(t, filepath.Join(actionsFolder(kind), definition.Name, "action.lua")) {
				t.Errorf("the action %s of %s is another: run 'make generate'", definition.Name, kind)
			}
		}
		if !slices.Equal(names, []string{"rotate", "compromise"}) {
			t.Errorf("the actions of %s are %v", kind, names)
		}
	}
	if len(configMap.Data) != len(kinds)+len(withActions) {
		t.Errorf("argocd-cm.yaml would change more of Argo CD than health and actions: %d entries", len(configMap.Data))
	}
}

// configuresArgoCD: what docs/gitops.md says to apply leaves alone what Argo CD is configured with already.
func (s *site) configuresArgoCD() {
	s.t.Helper()
	file := filepath.Join(customizations, "..", "argocd-cm.yaml")
	s.kubectl("create", "namespace", "argocd")
	s.kubectl("create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://argocd.example.com")
	for range 2 {
		s.kubectl("apply", "--server-side", "--field-manager=dgbot-key-operator", "-n", "argocd", "-f", file)
	}
	var configMap corev1.ConfigMap
	s.must(s.admin.Get(s.t.Context(), types.NamespacedName{Namespace: "argocd", Name: "argocd-cm"}, &configMap))
	wanted := readYAML[corev1.ConfigMap](s.t, file).Data
	wanted["url"] = "https://argocd.example.com"
	if !maps.Equal(configMap.Data, wanted) {
		s.t.Errorf("argocd-cm has %v", slices.Sorted(maps.Keys(configMap.Data)))
	}
}
