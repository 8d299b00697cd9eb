// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// rights is a set of rights, as controlplane.Right writes them.
type rights map[string]bool

func (r rights) add(rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					r[controlplane.Right(verb, group, resource, "")] = true
				}
			}
		}
	}
}

func (r rights) without(others ...string) rights {
	rest := maps.Clone(r)
	for _, right := range others {
		delete(rest, right)
	}
	return rest
}

func (r rights) list() string { return strings.Join(slices.Sorted(maps.Keys(r)), "\n") }

// build returns what a kustomization makes, by kind and name.
func build(t *testing.T, kustomization string) map[string]*unstructured.Unstructured {
	t.Helper()
	assets, err := controlplane.Assets()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize",
		filepath.Join(controlplane.Repository(), "config", kustomization)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	objects := map[string]*unstructured.Unstructured{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		objects[object.GetKind()+"/"+object.GetName()] = object
	}
}

func rightsOf(t *testing.T, object *unstructured.Unstructured) rights {
	t.Helper()
	if object == nil {
		t.Fatal("there is no such role")
	}
	var role rbacv1.ClusterRole // a Role has the same rules
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
		t.Fatal(err)
	}
	all := rights{}
	all.add(role.Rules)
	return all
}

// TestOverlaysGiveLessAndNothingElse: what the overlays give follows config/rbac/role.yaml, which is generated from
// controllers/rbac.go, and all but rights and arguments is as in config/default.
func TestOverlaysGiveLessAndNothingElse(t *testing.T) {
	const clusterRole, watched, identity = "ClusterRole/dgbot-manager", "Role/dgbot-manager-watched", "Role/dgbot-manager-identity"
	lists := []string{"list secrets", "watch secrets"}
	clusterWide := rights{
		"mint keys.dgbot.io/dgbotapikeyrecords":            true,
		"create authentication.k8s.io/tokenreviews":        true,
		"create authorization.k8s.io/subjectaccessreviews": true,
		"get keys.dgbot.io/dgbotenvironments":              true,
		"list keys.dgbot.io/dgbotenvironments":             true,
		"watch keys.dgbot.io/dgbotenvironments":            true,
		"patch keys.dgbot.io/dgbotenvironments/status":     true,
		"get namespaces":   true,
		"list namespaces":  true,
		"watch namespaces": true,
	}
	standard := build(t, "default")
	full := rightsOf(t, standard[clusterRole])
	if len(full) < 15 || !full[lists[0]] || !full[lists[1]] {
		t.Fatalf("the rights of config/default are not found: %v", full)
	}
	local := full.without(slices.Collect(maps.Keys(clusterWide))...)
	if len(local)+len(clusterWide) != len(full) {
		t.Fatalf("config/default lacks one of\n%s", clusterWide.list())
	}
	own := rights{"create configmaps": true, "delete configmaps": true, "get configmaps": true, "list configmaps": true, "watch configmaps": true}
	for _, verb := range []string{"create", "delete", "get", "list", "patch", "update", "watch"} {
		own[verb+" secrets"] = true
	}
	for overlay, want := range map[string]struct{ everywhere, watched, identity rights }{
		"get-only":            {full.without(lists...), nil, rights{lists[0]: true, lists[1]: true}},
		"namespaced":          {clusterWide, local, own},
		"namespaced-get-only": {clusterWide, local.without(lists...), own},
	} {
		t.Run(overlay, func(t *testing.T) {
			folder := "overlays/" + overlay
			objects := build(t, folder)
			if got := rightsOf(t, objects[clusterRole]); got.list() != want.everywhere.list() {
				t.Errorf("in the whole cluster:\n%s\nwant:\n%s", got.list(), want.everywhere.list())
			}
			if want.watched != nil {
				if got := rightsOf(t, build(t, folder+"/watched")[watched]); got.list() != want.watched.list() {
					t.Errorf("in a watched namespace:\n%s\nwant:\n%s", got.list(), want.watched.list())
				}
			}
			if want.identity != nil {
				if got := rightsOf(t, objects[identity]); got.list() != want.identity.list() {
					t.Errorf("in the identity namespace:\n%s\nwant:\n%s", got.list(), want.identity.list())
				}
				delete(objects, identity)
				delete(objects, "RoleBinding/dgbot-manager-identity")
				delete(objects, "Role/dgbot-manager-events")
				delete(objects, "RoleBinding/dgbot-manager-events")
			}
			if len(objects) != len(standard) {
				t.Errorf("%d objects, config/default has %d", len(objects), len(standard))
			}
			for name, object := range objects {
				if name != clusterRole && name != "Deployment/dgbot-manager" && !reflect.DeepEqual(object, standard[name]) {
					t.Errorf("%s is not as in config/default", name)
				}
			}
		})
	}
}

// TestVerifierRights: a verifier that could list or delete Leases could find the registrations of others, and remove them.
func TestVerifierRights(t *testing.T) {
	objects := build(t, "verifier")
	for role, want := range map[string]rights{
		"Role/dgbot-verifier": {
			"get coordination.k8s.io/leases": true, "create coordination.k8s.io/leases": true, "update coordination.k8s.io/leases": true,
		},
		"Role/dgbot-verifier-identity": {"list secrets": true, "watch secrets": true},
		"ClusterRole/dgbot-verifier": {
			"list keys.dgbot.io/dgbotapikeyrecords": true, "watch keys.dgbot.io/dgbotapikeyrecords": true, "report keys.dgbot.io/dgbotapikeyrecords": true,
			"patch keys.dgbot.io/dgbotapikeyrecords/status": true, "create authentication.k8s.io/tokenreviews": true, "create authorization.k8s.io/subjectaccessreviews": true,
		},
	} {
		if got := rightsOf(t, objects[role]); got.list() != want.list() {
			t.Errorf("%s gives\n%s\nwant:\n%s", role, got.list(), want.list())
		}
	}
}

// granted returns the rights that bindings give the operator, by namespace; empty for the whole cluster.
func granted(a testenv.Kubectl) map[string]rights {
	a.T.Helper()
	all := map[string]rights{"": {}}
	var wide rbacv1.ClusterRoleBindingList
	a.Decode(&wide, "get", "clusterrolebindings", "-o", "json")
	for _, binding := range wide.Items {
		if bindsOperator(binding.Subjects) {
			all[""].add(rulesOf(a, "clusterrole", binding.RoleRef.Name, ""))
		}
	}
	var local rbacv1.RoleBindingList
	a.Decode(&local, "get", "rolebindings", "-A", "-o", "json")
	for _, binding := range local.Items {
		if !bindsOperator(binding.Subjects) {
			continue
		}
		if all[binding.Namespace] == nil {
			all[binding.Namespace] = rights{}
		}
		all[binding.Namespace].add(rulesOf(a, binding.RoleRef.Kind, binding.RoleRef.Name, binding.Namespace))
	}
	return all
}

func bindsOperator(subjects []rbacv1.Subject) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		return s.Name == controlplane.OperatorAccount && s.Namespace == controlplane.OperatorNamespace
	})
}

func rulesOf(a testenv.Kubectl, kind, name, namespace string) []rbacv1.PolicyRule {
	a.T.Helper()
	var role rbacv1.ClusterRole
	a.Decode(&role, "get", kind, name, "-n", namespace, "-o", "json")
	return role.Rules
}

// unseen are rights that no request of the operator's shows, and why it has them.
var unseen = []string{
	// Asked for by the admission policies, and by the plugin OwnerReferencesPermissionEnforcement.
	"mint keys.dgbot.io/dgbotapikeyrecords",
	"update keys.dgbot.io/dgbotapikeys/finalizers",
	"update keys.dgbot.io/dgbotchatbots/finalizers",
	"delete secrets", "delete configmaps",
	// By informers, where the API server does not stream lists.
	"list secrets", "list configmaps", "list keys.dgbot.io/dgbotapikeys", "list keys.dgbot.io/dgbotchatbots", "list keys.dgbot.io/dgbotenvironments", "list namespaces", "list coordination.k8s.io/leases",
	// By an instance that reserves a chatbot ID at the same instant as another instance, and is second.
	"get configmaps",
	// For a Lease that no verifier renewed for an hour, or of a verifier that has stopped: see TestUsageLeases_AreDeletedWhenNoVerifierRenewsThem
	// and TestVerifierLeases_AreDeletedAMinuteAfterTheStop.
	"delete coordination.k8s.io/leases",
	// For a replica with a revoked HMAC secret that cannot be read, see TestRevocation_WithoutRights.
	"patch secrets",
	// For events that repeat.
	"patch events.k8s.io/events",
	"patch events",
}

// usesExactlyItsRights: the API server refused the operator nothing, and it has no right that it did not use.
func (h *hardened) usesExactlyItsRights() {
	h.T.Helper()
	events, err := controlplane.ReadAudit(h.auditLog())
	if err != nil {
		h.T.Fatal(err)
	}
	used := map[string]rights{}
	for _, event := range events {
		if event.User.Username != operatorUser {
			continue
		}
		if event.ResponseStatus.Code == 403 {
			h.T.Errorf("refused: %s %s/%s: %s", event.Right(), event.ObjectRef.Namespace, event.ObjectRef.Name, event.ResponseStatus.Message)
		}
		// A right in the whole cluster may be used in any namespace.
		for _, namespace := range []string{event.ObjectRef.Namespace, ""} {
			if used[namespace] == nil {
				used[namespace] = rights{}
			}
			used[namespace][event.Right()] = true
		}
	}
	for namespace, all := range granted(h.Kubectl) {
		if rest := all.without(slices.Collect(maps.Keys(used[namespace]))...).without(unseen...); len(rest) > 0 {
			h.T.Errorf("rights in %q that nothing used:\n%s", namespace, rest.list())
		}
	}
}
