// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// flux is Flux's kustomize-controller with prune: true. It applies what differs in a dry run, takes away what kubectl has set, and
// deletes what it has applied before and Git no longer has.
type flux struct {
	*site
	inventory manifests
}

const fluxManager = "kustomize-controller"

func (f *flux) own(o *unstructured.Unstructured) *unstructured.Unstructured {
	owned := o.DeepCopy()
	labels := owned.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["kustomize.toolkit.fluxcd.io/name"], labels["kustomize.toolkit.fluxcd.io/namespace"] = "support-keys", "flux-system"
	owned.SetLabels(labels)
	return owned
}

func (f *flux) reconcile(git manifests) (changed []string) {
	f.t.Helper()
	for name, object := range git {
		wanted := f.own(object)
		live := f.live(object)
		if live != nil && !f.takesOver(live) && equality.Semantic.DeepEqual(desired(live), desired(f.apply(wanted, fluxManager, client.DryRunAll))) {
			continue
		}
		f.apply(wanted, fluxManager)
		changed = append(changed, name)
	}
	for name, object := range f.inventory {
		live := f.live(object)
		if git[name] == nil && live != nil && live.GetAnnotations()["kustomize.toolkit.fluxcd.io/prune"] != "disabled" {
			f.must(client.IgnoreNotFound(f.Admin.Delete(f.t.Context(), object.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationBackground))))
			changed = append(changed, "pruned "+name)
		}
	}
	f.inventory = git
	slices.Sort(changed)
	return changed
}

// desired is what Flux compares: an object without its status, and of its metadata labels and annotations alone.
func desired(object *unstructured.Unstructured) map[string]any {
	rest := object.DeepCopy().Object
	delete(rest, "status")
	rest["metadata"] = map[string]any{"labels": object.GetLabels(), "annotations": object.GetAnnotations()}
	return rest
}

// takesOver makes what was set by managers whose names begin with kubectl Flux's own, so that the next apply takes away what Git
// does not have.
func (f *flux) takesOver(live *unstructured.Unstructured) bool {
	f.t.Helper()
	fields, others, found := &fieldpath.Set{}, []metav1.ManagedFieldsEntry{}, false
	for _, entry := range live.GetManagedFields() {
		kubectl := strings.HasPrefix(entry.Manager, "kubectl") && entry.Subresource == ""
		if !kubectl && (entry.Manager != fluxManager || entry.Operation != metav1.ManagedFieldsOperationApply) {
			others = append(others, entry)
			continue
		}
		set := &fieldpath.Set{}
		f.must(set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())))
		fields, found = fields.Union(set), found || kubectl
	}
	if !found {
		return false
	}
	text, err := fields.ToJSON()
	f.must(err)
	own := metav1.ManagedFieldsEntry{
		Manager: fluxManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: live.GetAPIVersion(), FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(string(text)),
	}
	patch, err := json.Marshal([]any{map[string]any{"op": "replace", "path": "/metadata/managedFields", "value": append(others, own)}})
	f.must(err)
	f.must(f.Admin.Patch(f.t.Context(), live.DeepCopy(), client.RawPatch(types.JSONPatchType, patch)))
	return true
}

// rotate goes by the plugin: Flux has no actions.
func (f *flux) rotate(key *unstructured.Unstructured) {
	f.t.Helper()
	f.dgbot("rotate", key.GetName(), "-n", key.GetNamespace())
}
