// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

const (
	// timeRule is the one rule for times that users write. The API server evaluates format and pattern before it, and stops
	// there, so these fields have neither: every bad time is answered with the message of the rule.
	timeRule = `self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && ` +
		`!format.datetime().validate(self).hasValue() && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')`
	timeMessage = ` must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z`
	// durationForm begins the rule of each duration: Go decodes whatever it accepts.
	durationForm = `self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self)`
)

// TestTimesAndDurations_HaveOneRule: one field that is less strict than Go's decoder would stop the informers of the operator,
// and one without a message of its own would answer a user with a pattern.
func TestTimesAndDurations_HaveOneRule(t *testing.T) {
	found := 0
	for file, kind := range map[string]any{
		"dgbotapikeys": v1alpha1.DGbotAPIKey{}, "dgbotapikeyrecords": v1alpha1.DGbotAPIKeyRecord{},
		"dgbotchatbots": v1alpha1.DGbotChatbot{}, "dgbotenvironments": v1alpha1.DGbotEnvironment{},
	} {
		content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "crd", "bases", "keys.dgbot.io_"+file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(content, crd); err != nil {
			t.Fatal(err)
		}
		walkTimes(file, reflect.TypeOf(kind), *crd.Spec.Versions[0].Schema.OpenAPIV3Schema, func(path string, kind reflect.Type, schema apiextensionsv1.JSONSchemaProps) {
			found++
			name := path[strings.LastIndex(path, ".")+1:]
			byUser := strings.Contains(path, ".spec.") && file != "dgbotapikeyrecords"
			rules := schema.XValidations
			switch {
			case kind == reflect.TypeFor[metav1.Duration]():
				if len(rules) != 1 || !strings.HasPrefix(rules[0].Rule, durationForm) || !strings.HasPrefix(rules[0].Message, name+" must be a duration of ") || !strings.Contains(rules[0].Message, " such as ") || schema.Format != "" || schema.Pattern != "" {
					t.Errorf("%s: %+v", path, schema)
				}
			case byUser:
				if len(rules) != 1 || rules[0].Rule != timeRule || rules[0].Message != name+timeMessage || schema.Format != "" || schema.Pattern != "" || *schema.MaxLength < 64 {
					t.Errorf("%s: %+v", path, schema)
				}
			case schema.Format != "date-time" || "'"+schema.Pattern+"'" != timePattern:
				t.Errorf("%s: %+v", path, schema)
			}
		})
	}
	if found < 40 {
		t.Errorf("only %d times and durations found", found)
	}
}

// walkTimes visits the fields of a type of ours, by their names in JSON, that are times or durations.
func walkTimes(path string, kind reflect.Type, schema apiextensionsv1.JSONSchemaProps, visit func(string, reflect.Type, apiextensionsv1.JSONSchemaProps)) {
	for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
		if kind.Kind() == reflect.Slice && schema.Items != nil && schema.Items.Schema != nil {
			schema = *schema.Items.Schema
		}
		kind = kind.Elem()
	}
	switch {
	case kind == reflect.TypeFor[metav1.Time](), kind == reflect.TypeFor[metav1.Duration]():
		visit(path, kind, schema)
	case kind.Kind() == reflect.Struct && kind.PkgPath() == reflect.TypeFor[v1alpha1.DGbotAPIKey]().PkgPath():
		for i := range kind.NumField() {
			field := kind.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if property, ok := schema.Properties[name]; ok {
				walkTimes(path+"."+name, field.Type, property, visit)
			}
		}
	}
}
