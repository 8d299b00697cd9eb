// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	"sigs.k8s.io/kustomize/api/types"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/hack/release/kustomization"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// values are given to the chart; object is one of Kubernetes.
type (
	values = map[string]any
	object = map[string]any
)

var (
	config    = filepath.Join(controlplane.Repository(), "config")
	chartPath = filepath.Join(controlplane.Repository(), "charts", "dgbot-key-operator")
)

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	loaded, err := loader.Load(chartPath)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// rendered is what 'helm template' makes of the values.
func rendered(t *testing.T, namespace string, given values) (*release.Release, error) {
	t.Helper()
	install := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler)))
	install.DryRunStrategy, install.ReleaseName, install.Namespace = action.DryRunClient, "dgbot", namespace
	install.KubeVersion = &common.KubeVersion{Version: "v1.32.0", Major: "1", Minor: "32"}
	got, err := install.Run(loadChart(t), given)
	if err != nil {
		return nil, err
	}
	return got.(*release.Release), nil
}

func render(t *testing.T, namespace string, given values) map[string]object {
	t.Helper()
	release, err := rendered(t, namespace, given)
	if err != nil {
		t.Fatal(err)
	}
	return objectsOf(t, release.Manifest)
}

func objectsOf(t *testing.T, manifest string) map[string]object {
	t.Helper()
	objects := map[string]object{}
	for _, document := range strings.Split("\n"+manifest, "\n---\n") {
		var parsed object
		if err := yaml.UnmarshalStrict([]byte(document), &parsed); err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		if parsed != nil {
			put(t, objects, parsed)
		}
	}
	return objects
}

// built is what kustomizations make, with the namespace of those objects that are to be applied with -n.
func built(t *testing.T, into map[string]object, overlay types.Kustomization, folders ...string) {
	t.Helper()
	for i := range folders {
		folders[i] = filepath.Join(config, filepath.FromSlash(folders[i]))
	}
	nodes, err := kustomization.Overlay(overlay, folders...)
	if err != nil {
		t.Fatal(err)
	}
	decode(t, into, nodes)
}

func decode(t *testing.T, into map[string]object, nodes []*kyaml.RNode) {
	t.Helper()
	for _, node := range nodes {
		content, err := node.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var parsed object
		if err := json.Unmarshal(content, &parsed); err != nil {
			t.Fatal(err)
		}
		put(t, into, parsed)
	}
}

func put(t *testing.T, objects map[string]object, added object) {
	t.Helper()
	metadata := added["metadata"].(object)
	namespace, _ := metadata["namespace"].(string)
	id := strings.Join([]string{added["apiVersion"].(string), added["kind"].(string), namespace, metadata["name"].(string)}, " ")
	if objects[id] != nil {
		t.Errorf("there are two of %s", id)
	}
	objects[id] = added
}

// withoutHelm takes away what the chart adds to every object. An object without it is an error: Helm would go by it.
func withoutHelm(t *testing.T, objects map[string]object) {
	t.Helper()
	for id, object := range objects {
		metadata := object["metadata"].(map[string]any)
		for label, want := range map[string]string{"helm.sh/chart": "dgbot-key-operator-0.0.0-dev", "app.kubernetes.io/managed-by": "Helm"} {
			take(t, id, metadata, "labels", label, want)
		}
		if kept(id) {
			take(t, id, metadata, "annotations", "helm.sh/resource-policy", "keep")
		}
	}
}

// kept is what 'helm uninstall' is to leave, unless crds.keep is false.
func kept(id string) bool {
	return strings.Contains(id, "CustomResourceDefinition") || strings.HasSuffix(id, "Namespace  dgbot-identity")
}

func take(t *testing.T, id string, metadata map[string]any, field, name, want string) {
	t.Helper()
	entries, _ := metadata[field].(map[string]any)
	if entries[name] != want {
		t.Errorf("%s: %s is %v, want %s", id, name, entries[name], want)
	}
	delete(entries, name)
	if len(entries) == 0 {
		delete(metadata, field)
	}
}

func same(t *testing.T, got, want map[string]object) {
	t.Helper()
	if len(want) < 36 {
		t.Errorf("only %d objects are compared", len(want))
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if difference := cmp.Diff(want[id], got[id]); difference != "" {
			t.Errorf("%s: wanted is -, the chart has +\n%s", id, difference)
		}
	}
	for id := range got {
		if want[id] == nil {
			t.Errorf("%s: it is not wanted", id)
		}
	}
}

const namespaceOfTheRelease = "v1 Namespace  " + operatorNamespace

// TestTheChartInstallsWhatConfigInstalls, object by object, whatever is chosen.
func TestTheChartInstallsWhatConfigInstalls(t *testing.T) {
	namespaced := values{"watchNamespaces": []any{"support"}}
	for name, test := range map[string]struct {
		given   values
		folders []string
		watched string
	}{
		"default":  {folders: []string{"default"}},
		"get-only": {given: values{"manager": values{"secretAccess": "get-only"}}, folders: []string{"overlays/get-only"}},
		"namespaced": {
			given: values{"manager": namespaced}, folders: []string{"overlays/namespaced"}, watched: "overlays/namespaced/watched",
		},
		"namespaced-get-only": {
			given:   values{"manager": values{"watchNamespaces": []any{"support"}, "secretAccess": "get-only"}},
			folders: []string{"overlays/namespaced-get-only"}, watched: "overlays/namespaced-get-only/watched",
		},
		"verifier":   {given: values{"verifier": values{"enabled": true}}, folders: []string{"default", "verifier"}},
		"prometheus": {given: values{"prometheus": values{"enabled": true}}, folders: []string{"default", "prometheus"}},
		"everything": {
			given:   values{"manager": namespaced, "verifier": values{"enabled": true}, "prometheus": values{"enabled": true}},
			folders: []string{"overlays/namespaced", "verifier", "prometheus"}, watched: "overlays/namespaced/watched",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := map[string]object{}
			built(t, want, types.Kustomization{}, test.folders...)
			if test.watched != "" {
				built(t, want, types.Kustomization{Namespace: "support"}, test.watched)
				boundIn(t, want, "support")
			}
			given := values{"namespace": values{"create": true}}
			maps.Copy(given, test.given)
			got := render(t, operatorNamespace, given)
			withoutHelm(t, got)
			same(t, got, want)
		})
	}
}

// boundIn puts right what an overlay with a namespace does to the subject of the watched Role, and 'kubectl apply -n' does not.
func boundIn(t *testing.T, objects map[string]object, namespace string) {
	t.Helper()
	binding := objects["rbac.authorization.k8s.io/v1 RoleBinding "+namespace+" dgbot-manager-watched"]
	binding["subjects"].([]any)[0].(object)["namespace"] = operatorNamespace
}

// TestWithoutValuesTheReleasesNamespaceIsLeftToHelm, which needs it before it installs anything, and nothing else is.
func TestWithoutValuesTheReleasesNamespaceIsLeftToHelm(t *testing.T) {
	want := map[string]object{}
	built(t, want, types.Kustomization{}, "default")
	if want[namespaceOfTheRelease] == nil {
		t.Fatal("config/default has no namespace: this test looks at nothing")
	}
	delete(want, namespaceOfTheRelease)
	got := render(t, operatorNamespace, nil)
	withoutHelm(t, got)
	same(t, got, want)
}

// TestAnotherNamespaceIsThatOfAnOverlay as README.md describes it.
func TestAnotherNamespaceIsThatOfAnOverlay(t *testing.T) {
	want := map[string]object{}
	built(t, want, types.Kustomization{Namespace: "keys-prod"}, "operator")
	built(t, want, types.Kustomization{}, "identity")
	got := render(t, "keys-prod", values{"namespace": values{"create": true}})
	withoutHelm(t, got)
	same(t, got, want)
}

// TestNothingStaysInTheNamespaceThatConfigNames, whatever is chosen.
func TestNothingStaysInTheNamespaceThatConfigNames(t *testing.T) {
	objects := render(t, "keys-prod", values{
		"namespace": values{"create": true}, "verifier": values{"enabled": true}, "prometheus": values{"enabled": true},
		"networkPolicy": values{"restrictedEgress": true}, "manager": values{"watchNamespaces": []any{"support"}},
	})
	for id, object := range objects {
		content, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), operatorNamespace) {
			t.Errorf("%s speaks of %s", id, operatorNamespace)
		}
	}
}

// TestRestrictedEgressIsThatOfTheComponent, beside what is there without it.
func TestRestrictedEgressIsThatOfTheComponent(t *testing.T) {
	want := map[string]object{}
	nodes, err := kustomization.Build(filepath.Join(config, "components", "restricted-egress"))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, want, nodes)
	built(t, want, types.Kustomization{}, "default")
	got := render(t, operatorNamespace, values{"namespace": values{"create": true}, "networkPolicy": values{"restrictedEgress": true}})
	withoutHelm(t, got)
	same(t, got, want)
}
