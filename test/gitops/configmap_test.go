// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestConfigMap_HasTheScripts: what is added to argocd-cm is what the other tests have run, under the keys that Argo CD reads.
func TestConfigMap_HasTheScripts(t *testing.T) {
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

// TestConfigMap_PatchKeepsArgoCDSettings runs the commands of docs/gitops.md on an Argo CD that was installed by kubectl apply, as
// its own guide says. Server-side apply by another manager would take over, and then remove, everything that is not in its file.
func TestConfigMap_PatchKeepsArgoCDSettings(t *testing.T) {
	s := newConfigMapSite(t)
	settings := map[string]string{
		"url": "https://argocd.example.com", "dex.config": "connectors: []\n", "application.instanceLabelKey": "argocd.argoproj.io/instance",
		"resource.customizations.health.batch_Job": "return {}\n",
	}
	scripts := readYAML[corev1.ConfigMap](t, filepath.Join(customizations, "..", "argocd-cm.yaml")).Data
	s.installs(settings)
	add, remove := s.documented("argocd-cm.yaml"), s.documented("argocd-cm-removal.yaml")
	for range 2 {
		s.shell(add)
		s.wants("after the patch", settings, scripts)
	}
	for _, flags := range [][]string{nil, {"--server-side", "--force-conflicts"}} {
		s.installs(settings, flags...)
		s.wants("after Argo CD was installed again", settings, scripts)
		settings["url"] = "https://argocd.example.org"
		delete(settings, "dex.config")
		s.installs(settings, flags...)
		s.wants("after Argo CD was upgraded with other settings", settings, scripts)
	}
	for _, flags := range [][]string{nil, {"--server-side", "--force-conflicts"}} {
		args := append([]string{"apply", "-n", "argocd", "-f", filepath.Join(customizations, "..", "argocd-cm.yaml")}, flags...)
		if out, err := s.Kubectl(t.Context(), args...).CombinedOutput(); err == nil {
			t.Errorf("kubectl %v accepts the patch as a manifest: %s", args, out)
		}
		s.wants("after a rejected apply", settings, scripts)
	}
	for range 2 {
		s.shell(remove)
		s.wants("after the removal", settings)
	}
	s.installs(settings)
	s.wants("after the removal and another installation", settings)
}

// TestConfigMap_ComponentEqualsPatch: Kustomize makes of Argo CD's manifest what the patch makes of the live object.
func TestConfigMap_ComponentEqualsPatch(t *testing.T) {
	folder, argocd := t.TempDir(), filepath.Join(customizations, "..")
	component, err := filepath.Rel(folder, argocd)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"argocd.yaml":        argoCDManifest(t, map[string]string{"url": "https://argocd.example.com"}),
		"kustomization.yaml": "namespace: argocd\nresources: [argocd.yaml]\ncomponents: [" + component + "]\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := readYAML[corev1.ConfigMap](t, filepath.Join(argocd, "argocd-cm.yaml")).Data
	want["url"] = "https://argocd.example.com"
	got := map[string]string{}
	for key := range want {
		got[key] = text(t, render(t, folder)["ConfigMap argocd/argocd-cm"], "data", key)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the component makes\n%v\nof argocd-cm, want\n%v", got, want)
	}
}

// newConfigMapSite is a cluster with the namespace of Argo CD alone.
func newConfigMapSite(t *testing.T) *site {
	t.Helper()
	cluster := testenv.StartCluster(t, controlplane.Options{})
	admin, err := cluster.AdminClient()
	testenv.Must(t, err)
	s := &site{t: t, World: &testenv.World{Cluster: cluster, Admin: admin}}
	s.kubectl("create", "namespace", "argocd")
	return s
}

// argoCDManifest is the part of Argo CD's installation that matters here.
func argoCDManifest(t *testing.T, settings map[string]string) string {
	t.Helper()
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": settings,
		"metadata": map[string]any{"name": "argocd-cm", "labels": map[string]string{"app.kubernetes.io/part-of": "argocd"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(manifest)
}

// installs applies Argo CD's own manifest.
func (s *site) installs(settings map[string]string, flags ...string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "install.yaml")
	s.must(os.WriteFile(file, []byte(argoCDManifest(s.t, settings)), 0o600))
	s.kubectl(append([]string{"apply", "-n", "argocd", "-f", file}, flags...)...)
}

// documented returns the command of docs/gitops.md that names a file.
func (s *site) documented(file string) string {
	s.t.Helper()
	for line := range strings.Lines(read(s.t, filepath.Join(controlplane.Repository(), "docs", "gitops.md"))) {
		if strings.HasPrefix(line, "    kubectl ") && strings.Contains(line, "/"+file) {
			return strings.TrimSpace(line)
		}
	}
	s.t.Fatalf("docs/gitops.md has no command with %s", file)
	return ""
}

// shell runs a command of the documentation in the repository.
func (s *site) shell(line string) {
	s.t.Helper()
	assets, err := controlplane.Assets()
	s.must(err)
	command := exec.CommandContext(s.t.Context(), "/bin/sh", "-c", line)
	command.Dir = controlplane.Repository()
	command.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "PATH="+assets+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if out, err := command.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// wants checks that argocd-cm has exactly these entries.
func (s *site) wants(when string, entries ...map[string]string) {
	s.t.Helper()
	want := map[string]string{}
	for _, some := range entries {
		maps.Copy(want, some)
	}
	var configMap corev1.ConfigMap
	s.must(s.Admin.Get(s.t.Context(), types.NamespacedName{Namespace: "argocd", Name: "argocd-cm"}, &configMap))
	if !maps.Equal(configMap.Data, want) {
		s.t.Errorf("%s argocd-cm has the entries %v, want %v, with their values", when, slices.Sorted(maps.Keys(configMap.Data)), slices.Sorted(maps.Keys(want)))
	}
}
