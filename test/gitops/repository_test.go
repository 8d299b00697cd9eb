// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// layout is the sample repository.
var layout = filepath.Join(controlplane.Repository(), "config", "samples", "gitops")

// manifests are the objects that Git has, by kind, namespace and name.
type manifests map[string]*unstructured.Unstructured

func id(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// without are the manifests after one was taken out.
func (m manifests) without(name string) manifests {
	rest := manifests{}
	for other, object := range m {
		if other != name {
			rest[other] = object
		}
	}
	return rest
}

// with are the manifests after a field of one was set.
func (m manifests) with(t *testing.T, name string, value any, field ...string) manifests {
	t.Helper()
	changed := m.without(name)
	changed[name] = m[name].DeepCopy()
	if err := unstructured.SetNestedField(changed[name].Object, value, field...); err != nil {
		t.Fatal(err)
	}
	return changed
}

// overlay renders an overlay of the sample repository.
func overlay(t *testing.T, name string) manifests {
	t.Helper()
	return render(t, filepath.Join(layout, "overlays", name))
}

func render(t *testing.T, folder string) manifests {
	t.Helper()
	assets, err := controlplane.Assets()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	command := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", folder)
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %s", folder, said.String())
	}
	rendered := manifests{}
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(out))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rendered
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := sigsyaml.YAMLToJSON(document)
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(content); err != nil {
			t.Fatal(err)
		}
		rendered[id(object)] = object
	}
}

func text(t *testing.T, object *unstructured.Unstructured, field ...string) string {
	t.Helper()
	if object == nil {
		t.Fatalf("no object that could have %v", field)
	}
	value, _, err := unstructured.NestedString(object.Object, field...)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestOverlaysDifferInWhatTheyAreToDifferIn: the environment, and names where two are in one namespace; and references follow.
func TestOverlaysDifferInWhatTheyAreToDifferIn(t *testing.T) {
	for environment, in := range map[string]struct{ namespace, suffix, interval string }{
		"production":  {"support", "", "720h"},
		"staging":     {"support-nonproduction", "-staging", "2160h"},
		"development": {"support-nonproduction", "-development", ""},
	} {
		rendered := overlay(t, environment)
		if len(rendered) != 3 {
			t.Errorf("%s has %d objects", environment, len(rendered))
		}
		for name, object := range rendered {
			if got := text(t, object, "spec", "environment"); got != environment || object.GetNamespace() != in.namespace {
				t.Errorf("%s of %s has the environment %q", name, environment, got)
			}
		}
		key := rendered["DGbotAPIKey "+in.namespace+"/website-backend"+in.suffix]
		if got := text(t, key, "spec", "chatbotRef", "name"); rendered["DGbotChatbot "+in.namespace+"/"+got] == nil {
			t.Errorf("%s: the key is for a chatbot %q, which is not there", environment, got)
		}
		if got := text(t, key, "spec", "rotation", "interval"); got != in.interval {
			t.Errorf("%s: the key is rotated every %q, want %q", environment, got, in.interval)
		}
	}
}

// TestOverlays_KeepTheProductionChatbot: its ID is on the pages. Argo CD deletes it neither when it leaves Git nor with the
// Application; Flux has one annotation for both.
func TestOverlays_KeepTheProductionChatbot(t *testing.T) {
	for _, environment := range []string{"production", "staging", "development"} {
		for name, object := range overlay(t, environment) {
			argo, flux := "", ""
			if environment == "production" && object.GetKind() == "DGbotChatbot" {
				argo, flux = "Prune=false,Delete=false", "disabled"
			}
			annotations := object.GetAnnotations()
			if got := annotations["argocd.argoproj.io/sync-options"]; got != argo {
				t.Errorf("%s of %s has the sync options %q, want %q", name, environment, got, argo)
			}
			if got := annotations["kustomize.toolkit.fluxcd.io/prune"]; got != flux {
				t.Errorf("%s of %s has Flux's prune %q, want %q", name, environment, got, flux)
			}
		}
	}
}

// TestSamples_ReplaceNoKey: the options by which Argo CD and Flux delete a live key are not set, and Argo CD's server-side diff
// sees what the API server changes.
func TestSamples_ReplaceNoKey(t *testing.T) {
	application := readYAML[struct {
		Metadata struct{ Annotations map[string]string }
		Spec     struct {
			SyncPolicy struct{ SyncOptions []string }
		}
	}](t, filepath.Join(layout, "argocd", "application.yaml"))
	options := strings.Split(application.Metadata.Annotations["argocd.argoproj.io/compare-options"], ",")
	if slices.Contains(options, "ServerSideDiff=true") && !slices.Contains(options, "IncludeMutationWebhook=true") {
		t.Errorf("ServerSideDiff without IncludeMutationWebhook hides defaults that replace a removed field: %v", options)
	}
	for _, option := range application.Spec.SyncPolicy.SyncOptions {
		if option == "Force=true" || option == "Replace=true" {
			t.Errorf("the Application has the option %s", option)
		}
	}
	kustomization := readYAML[struct{ Spec struct{ Force bool } }](t, filepath.Join(layout, "flux", "kustomization.yaml"))
	if kustomization.Spec.Force {
		t.Error("the Kustomization has force: true")
	}
}

const consumer = `apiVersion: apps/v1
kind: Deployment
metadata: {name: website}
spec:
  selector: {matchLabels: {app: website}}
  template:
    metadata: {labels: {app: website}}
    spec:
      volumes:
      - name: key
        secret: {secretName: website-backend}
      - name: keys
        projected: {sources: [{secret: {name: crm-sync}}]}
      containers:
      - name: website
        image: website
        env:
        - {name: DGBOT_API_KEY, valueFrom: {secretKeyRef: {name: website-backend, key: api-key}}}
        envFrom:
        - secretRef: {name: crm-sync}
      initContainers:
      - name: migrate
        image: website
        env:
        - {name: DGBOT_API_KEY, valueFrom: {secretKeyRef: {name: website-backend, key: api-key}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: sync
            image: sync
            envFrom:
            - secretRef: {name: crm-sync}
`

// TestASuffixFollowsToWorkloads: who uses a key names its Secret, which Kustomize does not see.
func TestASuffixFollowsToWorkloads(t *testing.T) {
	folder := t.TempDir()
	base, err := filepath.Rel(folder, filepath.Join(layout, "base"))
	if err != nil {
		t.Fatal(err)
	}
	kustomization := "nameSuffix: -staging\nresources: [" + filepath.ToSlash(base) + ", consumer.yaml]\n"
	for name, content := range map[string]string{"kustomization.yaml": kustomization, "consumer.yaml": consumer} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := render(t, folder)
	for object, references := range map[string]map[string]int{
		"Deployment /website-staging": {"website-backend": 3, "crm-sync": 2},
		"CronJob /nightly-staging":    {"crm-sync": 1},
	} {
		rendered, err := all[object].MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for name, times := range references {
			if n := bytes.Count(rendered, []byte(`"`+name+`-staging"`)); n != times {
				t.Errorf("%s: %d references to %s follow, want %d: %s", object, n, name, times, rendered)
			}
		}
	}
}
