// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestSamples_EnvironmentsComeBeforeKeys: by an earlier sync wave with Argo CD, and by dependsOn with Flux.
func TestSamples_EnvironmentsComeBeforeKeys(t *testing.T) {
	wave := func(o client.Object) int {
		text, ok := o.GetAnnotations()["argocd.argoproj.io/sync-wave"]
		if !ok {
			return 0
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	environments := map[string]int{}
	for _, object := range render(t, filepath.Join(layout, "environments")) {
		if object.GetKind() != v1alpha1.EnvironmentKind {
			t.Errorf("%s is no environment", object.GetName())
		}
		environments[object.GetName()] = wave(object)
	}
	for _, name := range []string{"production", "staging", "development"} {
		first, ok := environments[name]
		if !ok {
			t.Errorf("environment %s is missing", name)
		}
		for _, object := range overlay(t, name) {
			if wave(object) <= first {
				t.Errorf("%s is in wave %d, and environment %s in %d", object.GetName(), wave(object), name, first)
			}
		}
	}
	type argo struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Source struct {
				Path string `json:"path"`
			} `json:"source"`
		} `json:"spec"`
	}
	app := readYAML[argo](t, filepath.Join(layout, "argocd", "environments.yaml"))
	if app.Metadata.Annotations["argocd.argoproj.io/sync-wave"] != "-1" || app.Spec.Source.Path != "environments" {
		t.Errorf("the Application of the environments: %+v", app)
	}
	type flux struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			DependsOn []struct {
				Name string `json:"name"`
			} `json:"dependsOn"`
			Path string `json:"path"`
			Wait bool   `json:"wait"`
		} `json:"spec"`
	}
	before := readYAML[flux](t, filepath.Join(layout, "flux", "environments.yaml"))
	keys := readYAML[flux](t, filepath.Join(layout, "flux", "kustomization.yaml"))
	var names []string
	for _, dependency := range keys.Spec.DependsOn {
		names = append(names, dependency.Name)
	}
	if !before.Spec.Wait || before.Spec.Path != "./environments" || !slices.Contains(names, before.Metadata.Name) {
		t.Errorf("the keys depend on %v; the environments are %+v", names, before)
	}
}
