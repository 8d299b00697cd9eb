// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"dgbot.io/key-operator/hack/release/kustomization"
)

// document is one object of the chart: the file it goes into, and on what it depends whether it is rendered.
type document struct {
	file       string
	conditions []string
	// perNamespace makes one object for each watched namespace.
	perNamespace bool
	object       *yaml.RNode
}

// variant is a kustomization with the manager's rights of that name, which the helper dgbot.rights gives.
type variant struct{ rights, folder string }

// sources are the kustomizations of the chart. Where one has variants, an object is rendered with the rights for which it is there,
// in the form that it has there.
var sources = []struct {
	variants []variant
	// file is empty where the kind of the object decides.
	file         string
	conditions   []string
	perNamespace bool
}{
	{variants: []variant{
		{"default", "default"}, {"get-only", "overlays/get-only"},
		{"namespaced", "overlays/namespaced"}, {"namespaced-get-only", "overlays/namespaced-get-only"},
	}},
	{file: "environments.yaml", conditions: []string{"$.Values.environments.create"}, variants: []variant{{folder: "environments"}}},
	{file: "manager.yaml", conditions: []string{"$.Values.networkPolicy.restrictedEgress"}, variants: []variant{{folder: "components/restricted-egress"}}},
	// With the other rights no namespaces are named.
	{file: "watched.yaml", perNamespace: true, variants: []variant{
		{"namespaced", "overlays/namespaced/watched"}, {"namespaced-get-only", "overlays/namespaced-get-only/watched"},
	}},
	{file: "verifier-source.yaml", conditions: []string{"$.Values.verifierSource.enabled"}, variants: []variant{{folder: "verifier-source"}}},
	{file: "verifier.yaml", conditions: []string{"$.Values.verifier.enabled"}, variants: []variant{{folder: "verifier"}}},
	{file: "prometheus.yaml", conditions: []string{"$.Values.prometheus.enabled"}, variants: []variant{{folder: "prometheus"}}},
}

func collect(config string) ([]document, error) {
	var documents []document
	for _, source := range sources {
		forms, err := collectForms(config, source.variants)
		if err != nil {
			return nil, err
		}
		for _, form := range forms {
			document := document{
				file: cmp.Or(source.file, fileOf(form.object.GetKind())), object: form.object, perNamespace: source.perNamespace,
				conditions: append(slices.Clone(source.conditions), conditions(form.object)...),
			}
			if len(form.rights) < len(source.variants) {
				document.conditions = append(document.conditions, among(form.rights))
			}
			documents = append(documents, document)
		}
	}
	return documents, nil
}

// among is the condition that the rights are some of those.
func among(rights []string) string {
	if len(rights) == 1 {
		return `eq (include "dgbot.rights" $) "` + rights[0] + `"`
	}
	return `has (include "dgbot.rights" $) (list "` + strings.Join(rights, `" "`) + `")`
}

// form is an object, and with which rights it is like that.
type form struct {
	object *yaml.RNode
	rights []string
}

// collectForms returns each object of the variants once, or once for each form that it has in them.
func collectForms(config string, variants []variant) ([]*form, error) {
	forms := map[string][]*form{}
	var order []string
	for _, variant := range variants {
		objects, err := kustomization.Build(filepath.Join(config, filepath.FromSlash(variant.folder)))
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			id := strings.Join([]string{object.GetApiVersion(), object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
			if forms[id] == nil {
				order = append(order, id)
			}
			same := slices.IndexFunc(forms[id], func(f *form) bool {
				// How the arguments of the Deployment differ is for the helper dgbot.manager.args to say.
				return object.GetKind() == "Deployment" || f.object.MustString() == object.MustString()
			})
			if same < 0 {
				same = len(forms[id])
				forms[id] = append(forms[id], &form{object: object})
			}
			forms[id][same].rights = append(forms[id][same].rights, variant.rights)
		}
	}
	var all []*form
	for _, id := range order {
		all = append(all, forms[id]...)
	}
	return all, nil
}

func fileOf(kind string) string {
	switch kind {
	case "CustomResourceDefinition":
		return "crds.yaml"
	case "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
		return "policies.yaml"
	case "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount":
		return "rbac.yaml"
	case "Namespace":
		return "namespaces.yaml"
	}
	return "manager.yaml"
}

// conditions are those that an object's kind brings.
func conditions(object *yaml.RNode) []string {
	switch {
	case object.GetKind() == "CustomResourceDefinition":
		return []string{"$.Values.crds.install"}
	case object.GetKind() == "NetworkPolicy":
		return []string{"$.Values.networkPolicy.enabled"}
	case object.GetKind() == "PodDisruptionBudget":
		return []string{"$.Values." + componentOf(object) + ".podDisruptionBudget.enabled"}
	case object.GetKind() == "Service":
		// A Service without a port is rejected. One with several always has the port that the probes ask.
		if ports, err := servicePorts(object); err == nil && len(ports) == 1 {
			return []string{listens(componentOf(object), ports[0])}
		}
	case object.GetKind() == environmentKind:
		return []string{fmt.Sprintf(`include "dgbot.environmentMissing" (dict "root" $ "name" %q)`, object.GetName())}
	case object.GetKind() == "Namespace" && object.GetName() == operatorNamespace:
		return []string{"$.Values.namespace.create"}
	case object.GetKind() == "Namespace":
		return []string{"$.Values.identity.createNamespace"}
	}
	return nil
}
