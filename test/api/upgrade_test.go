// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// crdEdit changes the schema of a field in a CRD; the path has "[]" for the items of a list.
type crdEdit struct {
	path   []string
	change func(field map[string]any)
}

// formerKeys is what the CRD of keys had before lists became atomic and defaults were removed.
var formerKeys = []crdEdit{
	{[]string{"spec", "scopes"}, func(f map[string]any) {
		f["x-kubernetes-list-type"] = "set"
		delete(f, "x-kubernetes-validations")
	}},
	{[]string{"spec", "scopes", "[]"}, func(f map[string]any) {
		rules, _ := f["x-kubernetes-validations"].([]any)
		f["x-kubernetes-validations"] = slices.DeleteFunc(rules, func(r any) bool {
			fields, _ := r.(map[string]any)
			message, _ := fields["message"].(string)
			return strings.Contains(message, "empty segment")
		})
	}},
	{[]string{"spec", "state"}, func(f map[string]any) { f["default"] = "Active" }},
	{[]string{"spec", "rotation", "retire"}, func(f map[string]any) { f["default"] = "AfterOverlap" }},
}

// edit changes a CRD and returns it as it was.
func edit(t *testing.T, name string, edits []crdEdit) (before *unstructured.Unstructured) {
	t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	must(t, admin.Get(t.Context(), client.ObjectKey{Name: name}, crd))
	before = crd.DeepCopy()
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	must(t, err)
	for _, e := range edits {
		field, _, _ := unstructured.NestedFieldNoCopy(versions[0].(map[string]any), "schema", "openAPIV3Schema")
		for _, step := range e.path {
			if step == "[]" {
				field = field.(map[string]any)["items"]
				continue
			}
			field = field.(map[string]any)["properties"].(map[string]any)[step]
		}
		e.change(field.(map[string]any))
	}
	must(t, unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"))
	must(t, admin.Update(t.Context(), crd))
	return before
}

// install gives a CRD the spec of another version of it.
func install(ctx context.Context, t *testing.T, version *unstructured.Unstructured) {
	t.Helper()
	live := version.DeepCopy()
	must(t, admin.Get(ctx, client.ObjectKeyFromObject(version), live))
	live.Object["spec"] = version.Object["spec"]
	must(t, admin.Update(ctx, live))
}

// former installs the CRD of keys as it was before, until upgrade is called, at the latest until the test ends.
func former(t *testing.T) (upgrade, goBack func(context.Context)) {
	t.Helper()
	now := edit(t, "dgbotapikeys.keys.dgbot.io", formerKeys)
	then := now.DeepCopy()
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(now), then))
	upgrade = func(ctx context.Context) {
		install(ctx, t, now)
		waitForDefault(ctx, t, false)
	}
	goBack = func(ctx context.Context) {
		install(ctx, t, then)
		waitForDefault(ctx, t, true)
	}
	waitForDefault(t.Context(), t, true)
	t.Cleanup(func() { upgrade(context.Background()) })
	return upgrade, goBack
}

// waitForDefault waits until the API server serves the CRD of keys with, or without, a default for spec.state.
func waitForDefault(ctx context.Context, t *testing.T, want bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		probe := object(goodKey, `{"metadata": {"name": "probe"}}`)
		if err := admin.Create(ctx, probe, client.DryRunAll); err != nil {
			return false, err
		}
		_, found, err := unstructured.NestedString(probe.Object, "spec", "state")
		return found == want, err
	})
	if err != nil {
		t.Fatalf("the CRD does not take effect (a default for spec.state: %t): %v", want, err)
	}
}

// TestUpgrade_ListsOfTwoManagers: an object on which two managers own items of the list, from when it was a set.
func TestUpgrade_ListsOfTwoManagers(t *testing.T) {
	upgrade, goBack := former(t)
	wanted := applied(t, goodKey)
	must(t, applyAs(t, admin, "other", part(wanted, []any{"*"}, "spec", "scopes")))
	scopesOf := func() any { return liveField(t, wanted, "spec", "scopes") }
	if got := scopesOf(); !reflect.DeepEqual(got, []any{"conversations.read", "*"}) {
		t.Fatalf("before the upgrade: scopes %v, want those of both managers", got)
	}
	upgrade(t.Context())
	if got := scopesOf(); !reflect.DeepEqual(got, []any{"conversations.read", "*"}) {
		t.Errorf("the upgrade changed the scopes to %v", got)
	}
	if err := applyAs(t, admin, git, wanted); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "other") {
		t.Errorf("Git without force: %v, want a conflict with other", err)
	}
	must(t, applyAs(t, admin, git, wanted, client.ForceOwnership))
	if got := scopesOf(); !reflect.DeepEqual(got, []any{"conversations.read"}) {
		t.Errorf("after Git was applied again: scopes %v, want those of Git", got)
	}
	goBack(t.Context())
	more := object(goodKey, `{"spec": {"scopes": ["conversations.read", "conversations.write"]}}`)
	must(t, applyAs(t, admin, git, more))
	if got := scopesOf(); !reflect.DeepEqual(got, []any{"conversations.read", "conversations.write"}) {
		t.Errorf("after the way back Git adds a scope: %v", got)
	}
	must(t, applyAs(t, admin, git, wanted))
	if got := scopesOf(); !reflect.DeepEqual(got, []any{"conversations.read"}) {
		t.Errorf("after the way back Git removes a scope: %v", got)
	}
}

// TestUpgrade_ListsOfOneManager: an object of Git alone is applied before, after and again before without a conflict.
func TestUpgrade_ListsOfOneManager(t *testing.T) {
	upgrade, goBack := former(t)
	wanted := applied(t, goodKey)
	for _, change := range []func(context.Context){func(context.Context) {}, upgrade, goBack, upgrade} {
		change(t.Context())
		must(t, applyAs(t, admin, git, wanted))
		if got := liveField(t, wanted, "spec", "scopes"); !reflect.DeepEqual(got, []any{"conversations.read"}) {
			t.Errorf("scopes %v", got)
		}
	}
}

// TestUpgrade_StoredDefaultsStay: an object that was stored with defaults keeps them, and nothing writes it.
func TestUpgrade_StoredDefaultsStay(t *testing.T) {
	upgrade, _ := former(t)
	wanted := applied(t, goodKey)
	before := liveField(t, wanted, "metadata", "resourceVersion")
	upgrade(t.Context())
	if got := liveField(t, wanted, "spec", "state"); got != "Active" {
		t.Errorf("state %v, want the one that was stored", got)
	}
	if got := liveField(t, wanted, "spec", "rotation", "retire"); got != "AfterOverlap" {
		t.Errorf("retire %v, want the one that was stored", got)
	}
	if got := liveField(t, wanted, "metadata", "resourceVersion"); got != before {
		t.Errorf("the upgrade wrote the object: version %v, was %v", got, before)
	}
	must(t, applyAs(t, admin, git, object(goodKey, `{"spec": {"state": "Disabled"}}`)))
	must(t, applyAs(t, admin, git, wanted))
	if got := liveField(t, wanted, "spec", "state"); got != nil {
		t.Errorf("state %v after Git removed the field, want none", got)
	}
}

// TestUpgrade_EmptySegmentsStayWritable: a key that was accepted with a scope that is now rejected can be changed, disabled
// and rotated; only a change of the list has to correct it.
func TestUpgrade_EmptySegmentsStayWritable(t *testing.T) {
	upgrade, _ := former(t)
	wanted := applied(t, goodKey, `{"spec": {"scopes": ["a..b", "x.", "y..*"]}}`)
	upgrade(t.Context())
	for _, patch := range []string{
		`{"spec": {"label": "Another"}}`, `{"spec": {"state": "Disabled"}}`, `{"metadata": {"annotations": {"keys.dgbot.io/rotate-requested-at": "2026-01-01T00:00:00Z"}}}`,
	} {
		if err := admin.Patch(t.Context(), wanted.DeepCopy(), mergePatch(patch)); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
	must(t, applyAs(t, admin, git, wanted, client.ForceOwnership))
	err := admin.Patch(t.Context(), wanted.DeepCopy(), mergePatch(`{"spec": {"scopes": ["a..b", "conversations.read"]}}`))
	if err == nil || !strings.Contains(err.Error(), `spec.scopes[0]: Invalid value: "a..b": `+emptySegment) {
		t.Errorf("a change of the list: %v", err)
	}
	must(t, admin.Patch(t.Context(), wanted.DeepCopy(), mergePatch(`{"spec": {"scopes": ["a.b"]}}`)))
	// The operator copies the scopes of such a key to the records of its next revisions.
	create(t, goodRecord, `{"spec": {"scopes": ["a..b", "x.", "y..*"]}}`)
}
