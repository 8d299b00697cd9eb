// SPDX-License-Identifier: Apache-2.0

package starvation

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

var (
	largeConfigMaps = flag.Int("starvation.large-configmaps", 240, "how many ConfigMaps of 900 KiB carry the label of chatbots")
	annotated       = flag.Int("starvation.annotated-secrets", 300, "how many Secrets with 250 KiB of annotations carry the operator's label")
)

// TestMemory_IsNotSizedByTenants: an editor of one namespace creates objects that the manager caches by their labels, more than its
// memory limit in all. The manager stays below the limit while they appear, and when it starts among them, on an API server that streams
// lists and on one that does not.
func TestMemory_IsNotSizedByTenants(t *testing.T) {
	limit := shippedMemoryLimit(t)
	if all := *largeConfigMaps*900<<10 + *annotated*250<<10; all < limit {
		t.Fatalf("the objects have %d MiB together, which is less than the limit of %d MiB and proves nothing", all>>20, limit>>20)
	}
	t.Setenv("GOMEMLIMIT", strconv.Itoa(limit))
	const namespace = "starve-memory"
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	// Later tests start among what is left. The namespace itself stays: its deletion takes longer.
	t.Cleanup(func() {
		for _, kind := range []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}} {
			must(t, admin.DeleteAllOf(context.Background(), kind, client.InNamespace(namespace), client.MatchingLabels{"attack": "true"}))
		}
	})
	manager := world.RunManager(t)
	timesToReady(t, "starve-memory-before", 1)
	createLargeObjects(t, namespace)
	timesToReady(t, "starve-memory-events", 1)
	stayedBelow(t, manager, limit, "while the objects appeared")
	for name, streams := range map[string]string{"stream": "true", "pages": "false"} {
		must(t, manager.Stop())
		t.Setenv("KUBE_FEATURE_WatchListClient", streams)
		manager = world.RunManager(t)
		timesToReady(t, "starve-memory-"+name, 1)
		stayedBelow(t, manager, limit, "after a start with lists as "+name)
	}
}

// shippedMemoryLimit returns the memory limit of the manager in config/manager, in bytes.
func shippedMemoryLimit(t *testing.T) int {
	t.Helper()
	file, err := os.Open(filepath.Join(controlplane.Repository(), "config", "manager", "deployment.yaml"))
	must(t, err)
	defer func() { must(t, file.Close()) }()
	documents := yaml.NewYAMLOrJSONDecoder(file, 4096)
	for {
		deployment := &appsv1.Deployment{}
		must(t, documents.Decode(deployment))
		if deployment.Kind == "Deployment" {
			return int(deployment.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value())
		}
	}
}

func createLargeObjects(t *testing.T, namespace string) {
	t.Helper()
	labels := func(name, value string) map[string]string { return map[string]string{"attack": "true", name: value} }
	value, note := strings.Repeat("x", 900<<10), strings.Repeat("x", 250<<10)
	must(t, each(t.Context(), *largeConfigMaps, func(ctx context.Context, i int) error {
		return admin.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("large-%d", i), Labels: labels(v1alpha1.ChatbotLabel, "uid")},
			Data:       map[string]string{v1alpha1.WidgetSnippet: value},
		})
	}))
	must(t, each(t.Context(), *annotated, func(ctx context.Context, i int) error {
		return admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("annotated-%d", i), Labels: labels(v1alpha1.ManagedByLabel, v1alpha1.ManagedBy),
			Annotations: map[string]string{v1alpha1.TemplateAnnotation: note},
		}})
	}))
}

// stayedBelow checks the most memory that the manager has had.
func stayedBelow(t *testing.T, manager *process.Program, limit int, when string) {
	t.Helper()
	most, err := process.MostResidentMiB(manager.ProcessNumber())
	must(t, err)
	t.Logf("the manager had up to %.0f MiB of %d %s", most, limit>>20, when)
	if int(most) >= limit>>20 {
		t.Errorf("the manager had up to %.0f MiB %s, and its limit is %d MiB", most, when, limit>>20)
	}
}
