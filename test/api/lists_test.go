// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// git is the field manager of what Git has, as Argo CD applies it.
const git = "argocd-controller"

// applyAs applies a manifest by server-side apply.
func applyAs(t *testing.T, user client.Client, manager string, wanted *unstructured.Unstructured, options ...client.ApplyOption) error {
	t.Helper()
	options = append([]client.ApplyOption{client.FieldOwner(manager)}, options...)
	return user.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(wanted.DeepCopy()), options...)
}

// applied applies a manifest as Git does, which is to be accepted, and deletes it when the test ends.
func applied(t *testing.T, manifest string, patches ...string) *unstructured.Unstructured {
	t.Helper()
	wanted := object(manifest, patches...)
	must(t, applyAs(t, admin, git, wanted))
	t.Cleanup(func() {
		must(t, client.IgnoreNotFound(admin.Delete(context.Background(), object(manifest, patches...))))
	})
	return wanted
}

// part is an apply configuration of one field of an object.
func part(of *unstructured.Unstructured, value any, path ...string) *unstructured.Unstructured {
	p := &unstructured.Unstructured{Object: map[string]any{}}
	p.SetGroupVersionKind(of.GroupVersionKind())
	p.SetName(of.GetName())
	p.SetNamespace(of.GetNamespace())
	if err := unstructured.SetNestedField(p.Object, value, path...); err != nil {
		panic(err)
	}
	return p
}

// liveField reads a field of an object from the API server.
func liveField(t *testing.T, of *unstructured.Unstructured, path ...string) any {
	t.Helper()
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(of.GroupVersionKind())
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(of), live))
	value, _, err := unstructured.NestedFieldCopy(live.Object, path...)
	must(t, err)
	return value
}

// fromJSON reads a value as the API server returns it.
func fromJSON(t *testing.T, text string) any {
	t.Helper()
	holder := &unstructured.Unstructured{}
	must(t, holder.UnmarshalJSON([]byte(`{"apiVersion": "v1", "kind": "Value", "value": `+text+`}`)))
	return holder.Object["value"]
}

// grant is a list or map in a spec that grants something, with what another field manager adds.
type grant struct {
	manifest string
	path     []string
	git      string
	added    string
}

const (
	dayWindow = `{"days": ["Monday"], "start": "01:00", "end": "02:00"}`
	longRun   = `{"namespace": "crm", "name": "report", "reason": "Rarely used", "until": "2027-02-01T00:00:00Z"}`
	otherRun  = `{"namespace": "crm", "name": "leaked", "reason": "None", "until": "2099-02-01T00:00:00Z"}`
)

var grants = map[string]grant{
	"scopes":        {goodKey, []string{"spec", "scopes"}, `["conversations.read"]`, `["*"]`},
	"allowedScopes": {goodEnvironment, []string{"spec", "allowedScopes"}, `["conversations.*"]`, `["*"]`},
	"windows":       {goodEnvironment, []string{"spec", "rotation", "windows"}, `[` + dayWindow + `]`, `[` + strings.Replace(dayWindow, "Monday", "Sunday", 1) + `]`},
	"exemptions":    {goodEnvironment, []string{"spec", "audit", "exemptions"}, `[` + longRun + `]`, `[` + otherRun + `]`},
	"namespaceSelector": {goodEnvironment, []string{"spec", "namespaceSelector"}, `{"matchLabels": {"team": "crm"}}`,
		`{"matchExpressions": [{"key": "team", "operator": "Exists"}]}`},
	"template annotations": {goodKey, []string{"spec", "secret", "template", "annotations"}, `{"reloader.stakater.com/match": "true"}`, `{"restarts.example.com/to": "*"}`},
	"template labels":      {goodKey, []string{"spec", "secret", "template", "labels"}, `{"app": "crm"}`, `{"share": "all"}`},
	"template annotations of a chatbot": {goodChatbot, []string{"spec", "identityVerification", "secret", "template", "annotations"},
		`{"reloader.stakater.com/match": "true"}`, `{"restarts.example.com/to": "*"}`},
}

// TestLists_GitTakesBackWhatAnotherManagerAdds: in a list that is merged, what another field manager adds stays, and a
// GitOps tool sees no difference.
func TestLists_GitTakesBackWhatAnotherManagerAdds(t *testing.T) {
	for name, g := range grants {
		t.Run(name, func(t *testing.T) {
			wanted := object(g.manifest)
			must(t, unstructured.SetNestedField(wanted.Object, fromJSON(t, g.git), g.path...))
			text, err := json.Marshal(wanted.Object)
			must(t, err)
			applied(t, string(text))
			added := part(wanted, fromJSON(t, g.added), g.path...)
			if err := applyAs(t, admin, "other", added); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), git) {
				t.Errorf("without force: %v, want a conflict with %s", err, git)
			}
			must(t, applyAs(t, admin, "other", added, client.ForceOwnership))
			if got := liveField(t, wanted, g.path...); !reflect.DeepEqual(got, fromJSON(t, g.added)) {
				t.Errorf("after another manager forced it: %v", got)
			}
			if err := applyAs(t, admin, git, wanted); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "other") {
				t.Errorf("Git without force: %v, want a conflict with other", err)
			}
			must(t, applyAs(t, admin, git, wanted, client.ForceOwnership))
			if got := liveField(t, wanted, g.path...); !reflect.DeepEqual(got, fromJSON(t, g.git)) {
				t.Errorf("after Git was applied again: %v, want %s", got, g.git)
			}
		})
	}
}

// TestLists_RotatorCannotKeepAScope: a user with patch and without update may apply the unchanged manifest and becomes a
// co-owner of every field in it. Of a list that kept each of its items: what Git removed stayed.
func TestLists_RotatorCannotKeepAScope(t *testing.T) {
	both := applied(t, goodKey, `{"spec": {"scopes": ["conversations.read", "conversations.write"]}}`)
	must(t, applyAs(t, admin, "rotator", both))
	fewer := object(goodKey)
	if err := applyAs(t, admin, git, fewer); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "rotator") {
		t.Errorf("Git without force: %v, want a conflict with rotator", err)
	}
	must(t, applyAs(t, admin, git, fewer, client.ForceOwnership))
	if got := liveField(t, fewer, "spec", "scopes"); !reflect.DeepEqual(got, []any{"conversations.read"}) {
		t.Errorf("scopes %v, want those of Git", got)
	}
	// The limit that docs/threat-model.md states: a field that Git leaves out altogether stays with its other owner; an
	// empty list does not.
	must(t, applyAs(t, admin, "rotator", fewer))
	without := object(goodKey, `{"spec": {"scopes": null}}`)
	must(t, applyAs(t, admin, git, without, client.ForceOwnership))
	if got := liveField(t, without, "spec", "scopes"); !reflect.DeepEqual(got, []any{"conversations.read"}) {
		t.Errorf("left out by Git: scopes %v; if they are gone now, correct docs/threat-model.md", got)
	}
	must(t, applyAs(t, admin, git, object(goodKey, `{"spec": {"scopes": []}}`), client.ForceOwnership))
	if got := liveField(t, without, "spec", "scopes"); !reflect.DeepEqual(got, []any{}) {
		t.Errorf("emptied by Git: scopes %v", got)
	}
}

// TestLists_AsLongAsAllowedAreChecked: the rules that reject repeated entries compare each entry with each.
func TestLists_AsLongAsAllowedAreChecked(t *testing.T) {
	long := func(n int) string { return strings.ReplaceAll(scopes(n), "scope-", long(58)) }
	create(t, goodKey, `{"spec": {"scopes": `+long(32)+`}}`)
	create(t, goodRecord, `{"spec": {"scopes": `+long(32)+`}}`)
	exemptions := strings.Repeat(`{"namespace": "`+strings.Repeat("n", 63)+`", "name": "`+strings.Repeat("k", 253)+`", "reason": "Rarely used", "until": "2027-02-01T00:00:00Z"},`, 256)
	create(t, goodEnvironment, `{"spec": {"allowedScopes": `+long(64)+`, "audit": {"exemptions": [`+strings.TrimSuffix(exemptions, ",")+`]}}}`)
}
