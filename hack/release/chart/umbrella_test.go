// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	action4 "helm.sh/helm/v4/pkg/action"
	common4 "helm.sh/helm/v4/pkg/chart/common"
	loader4 "helm.sh/helm/v4/pkg/chart/v2/loader"
	release4 "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
)

// umbrellaValues are those of a chart that has this one as a dependency.
const umbrellaValues = `
global: {imageRegistry: registry.example, security: {allowInsecureImages: true}}
dgbot:
  enabled: true
  verifier:
    enabled: true
    replicas: null
    podSecurityContext: {runAsUser: null, runAsGroup: null}
    resources: {limits: {memory: null, cpu: 2}}
`

// umbrella writes a chart that has this one as a dependency, under another name and with a condition.
func umbrella(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string]string{
		"Chart.yaml": `apiVersion: v2
name: platform
version: 1.0.0
dependencies:
- {name: dgbot-key-operator, alias: dgbot, version: ">=0.0.0-0", condition: dgbot.enabled}
`,
		"values.yaml": text,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(folder, "charts", "dgbot-key-operator"), os.DirFS(chartPath)); err != nil {
		t.Fatal(err)
	}
	return folder
}

func umbrellaWithHelm4(t *testing.T, folder string, given values) (string, error) {
	t.Helper()
	loaded, err := loader4.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	install := action4.NewInstall(action4.NewConfiguration(action4.ConfigurationSetLogger(slog.DiscardHandler)))
	install.DryRunStrategy, install.ReleaseName, install.Namespace = action4.DryRunClient, "platform", operatorNamespace
	install.KubeVersion = &common4.KubeVersion{Version: "v1.32.0", Major: "1", Minor: "32"}
	got, err := install.Run(loaded, given)
	if err != nil {
		return "", err
	}
	return got.(*release4.Release).Manifest, nil
}

func umbrellaWithHelm3(t *testing.T, folder string, given values) (string, error) {
	t.Helper()
	loaded, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	install := action.NewInstall(&action.Configuration{Log: t.Logf})
	install.DryRun, install.ClientOnly, install.ReleaseName, install.Namespace = true, true, "platform", operatorNamespace
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.32.0", Major: "1", Minor: "32"}
	got, err := install.Run(loaded, given)
	if err != nil {
		return "", err
	}
	return got.Manifest, nil
}

// TestUmbrella_ChartIsADependency of another one, with both versions of Helm, with values of the parent's and of its user.
func TestUmbrella_ChartIsADependency(t *testing.T) {
	for name, helm := range map[string]func(*testing.T, string, values) (string, error){"Helm 4": umbrellaWithHelm4, "Helm 3": umbrellaWithHelm3} {
		t.Run(name, func(t *testing.T) {
			for from, given := range map[string]values{"the parent's values": nil, "the user's values": parse(t, umbrellaValues)} {
				// Helm 4 ignores null in the values of a parent chart: "" is the same here.
				text := strings.ReplaceAll(umbrellaValues, "null", `""`)
				if given != nil {
					text = "dgbot: {enabled: false}\n"
				}
				manifest, err := helm(t, umbrella(t, text), given)
				if err != nil {
					t.Fatalf("%s: %v", from, err)
				}
				objects := objectsOf(t, manifest)
				equal(t, *deployment(t, objects, "dgbot-manager").Spec.Replicas, 2)
				verifier := deployment(t, objects, "dgbot-verifier")
				if verifier.Spec.Replicas != nil {
					t.Errorf("%s: replicas is null, and the Deployment has %d", from, *verifier.Spec.Replicas)
				}
				resources := verifier.Spec.Template.Spec.Containers[0].Resources
				if _, hasLimit := resources.Limits[corev1.ResourceMemory]; hasLimit || resources.Limits.Cpu().String() != "2" || resources.Requests.Memory().String() != "64Mi" {
					t.Errorf("%s: the limit of memory is null, and the container has %v", from, resources)
				}
				if strings.Contains(manifest, `"memory":null`) || strings.Contains(manifest, `"memory":""`) {
					t.Errorf("%s: the manifest has a limit without a value", from)
				}
				if context := verifier.Spec.Template.Spec.SecurityContext; context.RunAsUser != nil || context.RunAsGroup != nil || !*context.RunAsNonRoot {
					t.Errorf("%s: runAsUser and runAsGroup are null, and the Pod has %v", from, context)
				}
			}
			manifest, err := helm(t, umbrella(t, umbrellaValues), parse(t, `{dgbot: {enabled: false}}`))
			if err != nil || strings.TrimSpace(manifest) != "" {
				t.Errorf("switched off: %v\n%s", err, manifest)
			}
			if _, err := helm(t, umbrella(t, umbrellaValues), parse(t, `{dgbot: {manager: {replica: 2}}}`)); err == nil || !strings.Contains(err.Error(), "replica") {
				t.Errorf("a misspelled value of a dependency: %v", err)
			}
		})
	}
}
