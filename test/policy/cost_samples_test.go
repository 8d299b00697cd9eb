// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// createTwinKinds creates the CRDs of twinGroup.
func createTwinKinds(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(controlplane.Repository(), "config", "crd", "bases", "*.yaml"))
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		crd := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal(text, &crd.Object))
		removeRules(crd.Object)
		_, plural, _ := strings.Cut(filepath.Base(file), "_")
		crd.SetName(strings.TrimSuffix(plural, ".yaml") + "." + twinGroup)
		must(t, unstructured.SetNestedField(crd.Object, twinGroup, "spec", "group"))
		must(t, admin.Create(t.Context(), crd))
		must(t, wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			if err := admin.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
				return false, err
			}
			status, _ := crd.Object["status"].(map[string]any)
			conditions, _ := status["conditions"].([]any)
			return slices.ContainsFunc(conditions, func(c any) bool {
				fields, _ := c.(map[string]any)
				return fields["type"] == "Established" && fields["status"] == "True"
			}), nil
		}))
	}
}

func removeRules(value any) {
	switch value := value.(type) {
	case map[string]any:
		delete(value, "x-kubernetes-validations")
		for _, field := range value {
			removeRules(field)
		}
	case []any:
		for _, item := range value {
			removeRules(item)
		}
	}
}

// createSamples stores each object of a resource and its twin, without policies: objects from before the policies must stay writable.
func createSamples(t *testing.T, resource string) []*sample {
	t.Helper()
	restore := withoutPolicies(t)
	var samples []*sample
	shapes := shapesOf(resource)
	for i, shape := range slices.Sorted(maps.Keys(shapes)) {
		object := costlyKinds[resource]()
		shapes[shape](object)
		object.SetName(resource + "-" + string(rune('a'+i)))
		twin := object.DeepCopy()
		place(object, twin, resource)
		if err := errors.Join(admin.Create(t.Context(), object), admin.Create(t.Context(), twin)); err != nil {
			t.Errorf("%s with %s: %.500v", resource, shape, err)
			continue
		}
		for _, verb := range []string{"create", "update", "patch"} {
			samples = append(samples, &sample{resource: resource, shape: shape, verb: verb, object: object, twin: twin})
		}
	}
	restore()
	return samples
}

// place puts an object where policies match it, and its twin where they do not.
func place(object, twin *unstructured.Unstructured, resource string) {
	switch group := object.GroupVersionKind().Group; {
	case resource == "namespaces":
		*twin = *environment()
		twin.SetGroupVersionKind(schema.GroupVersionKind{Group: twinGroup, Version: "v1alpha1", Kind: v1alpha1.EnvironmentKind})
		twin.SetName(object.GetName())
		twin.SetLabels(object.GetLabels())
		twin.SetAnnotations(object.GetAnnotations())
		twin.SetOwnerReferences(object.GetOwnerReferences())
		twin.SetFinalizers(object.GetFinalizers())
	case group == "":
		object.SetNamespace("costly")
		twin.SetNamespace(exempt)
	case resource == "leases":
		// A shape may have replaced the label by which the policy selects the Lease.
		labels := map[string]string{v1alpha1.VerifierLabel: "true"}
		maps.Copy(labels, object.GetLabels())
		object.SetLabels(labels)
		delete(labels, v1alpha1.VerifierLabel)
		twin.SetLabels(labels)
		object.SetNamespace("costly")
		twin.SetNamespace(exempt)
	default:
		kind := object.GroupVersionKind()
		kind.Group = twinGroup
		twin.SetGroupVersionKind(kind)
		if resource != "dgbotenvironments" {
			object.SetNamespace("costly")
			twin.SetNamespace("costly")
		}
	}
}

// checkCostlyKinds fails if a policy matches a resource of which no object is measured.
func checkCostlyKinds(t *testing.T) {
	t.Helper()
	var policies admissionv1.ValidatingAdmissionPolicyList
	must(t, admin.List(t.Context(), &policies))
	for i := range policies.Items {
		for _, rule := range policies.Items[i].Spec.MatchConstraints.ResourceRules {
			for _, resource := range rule.Resources {
				if _, isMeasured := costlyKinds[resource]; !isMeasured && !slices.Contains(spared, resource) {
					t.Errorf("%s matches %s, of which no object is measured", policies.Items[i].Name, resource)
				}
			}
		}
	}
}

// withoutPolicies deletes all bindings, until the function that it returns is called, or the test ends.
func withoutPolicies(t *testing.T) (restore func()) {
	t.Helper()
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	must(t, admin.List(t.Context(), &bindings))
	for i := range bindings.Items {
		must(t, admin.Delete(t.Context(), &bindings.Items[i]))
	}
	isRestored := false
	restore = func() {
		if isRestored {
			return
		}
		isRestored = true
		for i := range bindings.Items {
			binding := bindings.Items[i].DeepCopy()
			binding.ResourceVersion, binding.UID = "", ""
			must(t, admin.Create(context.WithoutCancel(t.Context()), binding))
		}
		must(t, waitForPolicies(context.WithoutCancel(t.Context())))
	}
	t.Cleanup(restore)
	must(t, wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		leak, err := create(ctx, strict, configMap(map[string]string{"x": key}))
		if err != nil {
			return false, err
		}
		unknown, err := create(ctx, ordinary, apiKey(annotated("keys.dgbot.io/unknown", "")))
		return leak.all() == "" && unknown.all() == "", err
	}))
	return restore
}
