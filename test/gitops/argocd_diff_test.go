// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// withoutMutations is what Argo CD compares with the live object, given the result of a dry run: fields that the field
// manager does not own count as the work of a mutating webhook and keep their live value. A default of a CRD has no owner,
// so it counts as well. A field that the dry run removes is removed. Argo CD does this unless the compare option
// IncludeMutationWebhook=true is set (removeWebhookMutation in its package diff).
func withoutMutations(live, predicted *unstructured.Unstructured, manager string) (map[string]any, error) {
	owned := &fieldpath.Set{}
	for _, entry := range predicted.GetManagedFields() {
		if entry.Manager != manager {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
			return nil, fmt.Errorf("managedFields of %s: %w", manager, err)
		}
		owned = owned.Union(set)
	}
	if owned.Empty() {
		return nil, fmt.Errorf("%s owns no field of %s", manager, id(predicted))
	}
	return ownedOrLive(content(live), content(predicted), owned), nil
}

// ownedOrLive returns the predicted fields that are owned, and of the others the live values. A list, and a map that is
// owned as a whole, is taken from one of the two as a whole.
func ownedOrLive(live, predicted map[string]any, owned *fieldpath.Set) map[string]any {
	result := map[string]any{}
	for name, value := range predicted {
		element := fieldpath.PathElement{FieldName: &name}
		below, hasBelow := owned.Children.Get(element)
		fields, isMap := value.(map[string]any)
		liveFields, liveIsMap := live[name].(map[string]any)
		liveValue, isLive := live[name]
		switch {
		case isMap && hasBelow:
			result[name] = ownedOrLive(liveFields, fields, below)
		case owned.Members.Has(element):
			result[name] = value
		case isMap && liveIsMap:
			result[name] = ownedOrLive(liveFields, fields, &fieldpath.Set{})
		case isLive:
			result[name] = liveValue
		}
	}
	return result
}

// TestServerSideDiff_OverlooksADefault: why the spec of a key has no defaults. Git had state Disabled and no longer names it.
func TestServerSideDiff_OverlooksADefault(t *testing.T) {
	object := func(spec map[string]any, owned string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"kind": "DGbotAPIKey", "spec": spec}}
		o.SetName("crm")
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: "argocd-controller", Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(owned),
		}})
		return o
	}
	const before = `{"f:spec": {"f:label": {}, "f:scopes": {}, "f:state": {}, "f:rotation": {"f:interval": {}, "f:retire": {}}}}`
	const after = `{"f:spec": {"f:label": {}, "f:scopes": {}, "f:rotation": {"f:interval": {}}}}`
	live := object(map[string]any{
		"label": "CRM", "scopes": []any{"a"}, "state": "Disabled", "rotation": map[string]any{"interval": "1h", "retire": "WhenUnused"},
	}, before)
	for name, tc := range map[string]struct {
		predicted map[string]any
		sees      bool
	}{
		"the API server adds defaults": {map[string]any{
			"label": "CRM", "scopes": []any{"a"}, "state": "Active", "rotation": map[string]any{"interval": "1h", "retire": "AfterOverlap"},
		}, false},
		"the fields are absent": {map[string]any{"label": "CRM", "scopes": []any{"a"}, "rotation": map[string]any{"interval": "1h"}}, true},
		"one field is absent": {map[string]any{
			"label": "CRM", "scopes": []any{"a"}, "state": "Disabled", "rotation": map[string]any{"interval": "1h"},
		}, true},
		"an owned list is another": {map[string]any{
			"label": "CRM", "scopes": []any{"a", "b"}, "state": "Disabled", "rotation": map[string]any{"interval": "1h", "retire": "WhenUnused"},
		}, true},
	} {
		compared, err := withoutMutations(live, object(tc.predicted, after), "argocd-controller")
		if err != nil {
			t.Fatal(err)
		}
		if sees := !reflect.DeepEqual(compared, content(live)); sees != tc.sees {
			t.Errorf("%s: Argo CD sees a difference: %t, want %t: %v", name, sees, tc.sees, compared)
		}
	}
}
