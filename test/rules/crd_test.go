// SPDX-License-Identifier: Apache-2.0

// Package rules tests that a rule which stands in several places is the same in all of them: in the CRDs as CEL or a
// pattern, in Go, in policies and in documentation. It needs no control plane.
package rules

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// schema is a part of a CRD's OpenAPI schema.
type schema map[string]any

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{controlplane.Repository()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// crd returns the manifest of a CRD.
func crd(t *testing.T, plural string) map[string]any {
	t.Helper()
	content, err := yaml.ToJSON([]byte(read(t, "config", "crd", "bases", "keys.dgbot.io_"+plural+".yaml")))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(content); err != nil {
		t.Fatal(err)
	}
	return object.Object
}

// schemaOf returns the schema of a field; "[]" in the path stands for the items of a list.
func schemaOf(t *testing.T, plural string, path ...string) schema {
	t.Helper()
	versions, _, err := unstructured.NestedSlice(crd(t, plural), "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("%s has %d versions, %v; want 1", plural, len(versions), err)
	}
	version, _ := versions[0].(map[string]any)
	found, _, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range path {
		step := []string{"properties", field}
		if field == "[]" {
			step = []string{"items"}
		}
		next, exists, err := unstructured.NestedMap(found, step...)
		if err != nil || !exists {
			t.Fatalf("%s %v: no schema of %s", plural, path, field)
		}
		found = next
	}
	return found
}

// rule is an element of x-kubernetes-validations.
type rule struct{ expression, message string }

func (s schema) rules() []rule {
	var all []rule
	validations, _ := s["x-kubernetes-validations"].([]any)
	for _, validation := range validations {
		if fields, ok := validation.(map[string]any); ok {
			expression, _ := fields["rule"].(string)
			message, _ := fields["message"].(string)
			all = append(all, rule{expression, message})
		}
	}
	return all
}

func (s schema) text(field string) string {
	value, _ := s[field].(string)
	return value
}

func (s schema) number(field string) int {
	value, _ := s[field].(int64)
	return int(value)
}

// each calls visit for a schema and every schema below it, with the path to it.
func (s schema) each(path string, visit func(path string, s schema)) {
	visit(path, s)
	if properties, ok := s["properties"].(map[string]any); ok {
		for name, property := range properties {
			if below, ok := property.(map[string]any); ok {
				schema(below).each(path+"."+name, visit)
			}
		}
	}
	for _, field := range []string{"items", "additionalProperties"} {
		if below, ok := s[field].(map[string]any); ok {
			schema(below).each(path+"[]", visit)
		}
	}
}

var plurals = []string{"dgbotapikeys", "dgbotapikeyrecords", "dgbotchatbots", "dgbotenvironments"}
