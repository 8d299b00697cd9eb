// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

type change = func(*unstructured.Unstructured)

// metadataShapes fill the metadata of an object up to a limit of the API server, 256 KiB for all annotations, or to a good part of the
// about 1.5 MiB that it stores of an object with its managed fields, which name each label, finalizer and owner reference again.
var metadataShapes = map[string]change{
	"30,000 annotations": func(o *unstructured.Unstructured) { o.SetAnnotations(numbered(30_000, "")) },
	"10,000 annotations and labels of ours": func(o *unstructured.Unstructured) {
		o.SetAnnotations(numbered(5_000, "keys.dgbot.io/"))
		o.SetLabels(numbered(5_000, "keys.dgbot.io/"))
	},
	"an annotation of 256 KiB": func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{"example.com/text": strings.Repeat("Keys.dgbot.io_", 255<<10/14)})
	},
	"values of 120 KiB for the annotations that policies read": func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{"argocd.argoproj.io/sync-options": strings.Repeat(",", 120<<10), "keys.dgbot.io/rotate-requested-at": strings.Repeat("1", 120<<10)})
	},
	"10,000 labels": func(o *unstructured.Unstructured) { o.SetLabels(numbered(10_000, "")) },
	"5,000 owner references": func(o *unstructured.Unstructured) {
		var owners []metav1.OwnerReference
		for i := range 5_000 {
			owners = append(owners, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: fmt.Sprint("x", i), UID: types.UID(fmt.Sprint("uid-", i))})
		}
		o.SetOwnerReferences(owners)
	},
	"5,000 finalizers": func(o *unstructured.Unstructured) {
		var finalizers []string
		for i := range 5_000 {
			finalizers = append(finalizers, fmt.Sprint("example.com/", i))
		}
		o.SetFinalizers(finalizers)
	},
}

// specShapes fill the rest of an object, by resource. Those of our kinds reach every bound of the CRD's schema that a rule iterates over.
func specShapes() map[string]map[string]change {
	almost, oneKey := strings.Repeat("dgbot_ "+key[:len(key)-1]+" ", 2), env("X", key)
	values := func(n int, value string) change {
		return func(o *unstructured.Unstructured) { convert(o, pod(manyEnv(n, value), oneKey)) }
	}
	data := func(data map[string]string) change {
		return func(o *unstructured.Unstructured) { convert(o, configMap(data)) }
	}
	return map[string]map[string]change{
		"configmaps": {
			"20,000 values and a key":              data(with(many(20_000, 0, ""), "last", key)),
			"5,000 values that almost hold a key":  data(many(5_000, 200, almost)),
			"1 MiB that mentions a key, and a key": data(map[string]string{"big": strings.Repeat("dgbot_x ", mebibyte/8-100), "x": key}),
			"1 MiB of what is almost a key":        data(map[string]string{"big": strings.Repeat(key[:len(key)-1]+" ", mebibyte/len(key))}),
			"1,000 keys":                           data(many(1_000, 250, key)),
			"500,000 control characters and a key": data(map[string]string{"big": strings.Repeat("\x01", 500_000), "x": key}),
			"1 MiB of ordinary text":               data(map[string]string{"big": strings.Repeat("some text ", mebibyte/10)}),
			"20,000 ordinary values":               data(many(20_000, 0, "")),
		},
		"pods": {
			"10,000 environment values and a key": values(10_000, ""),
			"4,900 environment values and a key":  values(4_900, almost),
			"49 keys of 4 KiB":                    values(49, padded(key, 4_096)),
			"2,000 containers and a key":          func(o *unstructured.Unstructured) { convert(o, pod(manyContainers(2_000), oneKey)) },
		},
		"dgbotapikeys": {"a spec at its bounds": func(o *unstructured.Unstructured) {
			o.Object["spec"] = map[string]any{
				"label": strings.Repeat("x", 100), "environment": "production", "scopes": scopes(32), "expiresAt": "2099-01-01T00:00:00Z",
				"rotation": map[string]any{"interval": "720h", "overlap": "24h", "maxOverlap": "48h", "requestedAt": "2026-01-01T00:00:00Z", "revokeIssuedBefore": "2026-01-01T00:00:00Z"},
				"secret":   map[string]any{"template": template()},
			}
		}},
		"dgbotchatbots": {"a spec at its bounds": func(o *unstructured.Unstructured) {
			o.Object["spec"] = map[string]any{
				"displayName": strings.Repeat("x", 100), "environment": "production",
				"identityVerification": map[string]any{"secret": map[string]any{"template": template()}},
			}
		}},
		"dgbotenvironments": {
			"a spec at its bounds": func(o *unstructured.Unstructured) {
				var exemptions []any
				for i := range 256 {
					exemptions = append(exemptions, map[string]any{"namespace": "support", "name": fmt.Sprint("x", i), "reason": strings.Repeat("x", 200), "until": "2099-01-01T00:00:00Z"})
				}
				o.Object["spec"] = map[string]any{"allowedScopes": scopes(64), "audit": map[string]any{"unusedAfter": "720h", "exemptions": exemptions}}
			},
			"a selector with 5,000 expressions": func(o *unstructured.Unstructured) {
				var expressions []any
				for i := range 5_000 {
					expressions = append(expressions, map[string]any{"key": fmt.Sprint("x", i), "operator": "NotIn", "values": []any{"a", "b"}})
				}
				o.Object["spec"] = map[string]any{"namespaceSelector": map[string]any{"matchExpressions": expressions}}
			},
		},
		"dgbotapikeyrecords": {"a spec at its bounds": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(o.Object, scopes(32), "spec", "scopes")
		}},
	}
}

// costlyShapes are those that are always measured, by resource: where an expression took time by the square, or takes the most.
var costlyShapes = map[string][]string{
	"configmaps":         {"1 MiB that mentions a key, and a key"},
	"dgbotapikeyrecords": {"5,000 owner references", "5,000 finalizers"},
	"dgbotapikeys":       {"5,000 owner references", "values of 120 KiB for the annotations that policies read", "a spec at its bounds"},
	"dgbotchatbots":      {"a spec at its bounds"},
	"dgbotenvironments":  {"a spec at its bounds"},
	"leases":             {"5,000 owner references", "30,000 annotations"},
	"namespaces":         {"10,000 labels"},
	"pods":               {"5,000 owner references", "2,000 containers and a key"},
}

// shapesOf returns the shapes of a resource to measure.
func shapesOf(resource string) map[string]change {
	shapes := maps.Clone(metadataShapes)
	maps.Copy(shapes, specShapes()[resource])
	if !*everyShape {
		maps.DeleteFunc(shapes, func(shape string, _ change) bool { return !slices.Contains(costlyShapes[resource], shape) })
	}
	return shapes
}

// convert replaces an object by one that has a type.
func convert(o *unstructured.Unstructured, typed runtime.Object) {
	kind, name := o.GroupVersionKind(), o.GetName()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		panic(err)
	}
	o.Object = content
	o.SetGroupVersionKind(kind)
	o.SetName(name)
}

func scopes(n int) []any {
	var all []any
	for i := range n {
		all = append(all, fmt.Sprintf("%060d.x", i))
	}
	return all
}

// template returns a Secret template with as many and as long entries as dgbot-sizes accepts.
func template() map[string]any {
	labels, annotations := map[string]any{}, map[string]any{}
	for i := range 32 {
		labels[fmt.Sprintf("example.com/%050d", i)] = strings.Repeat("x", 63)
		annotations[fmt.Sprintf("example.com/%050d", i)] = strings.Repeat("x", 700)
	}
	return map[string]any{"labels": labels, "annotations": annotations}
}

func numbered(n int, prefix string) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("%s%05d", prefix, i)] = ""
	}
	return all
}

// costlyKinds make an object of each resource that a policy matches.
var costlyKinds = map[string]func() *unstructured.Unstructured{
	"dgbotapikeys":      func() *unstructured.Unstructured { return apiKey() },
	"dgbotchatbots":     func() *unstructured.Unstructured { return chatbot() },
	"dgbotenvironments": func() *unstructured.Unstructured { return environment() },
	"dgbotapikeyrecords": func() *unstructured.Unstructured {
		return own(v1alpha1.APIKeyRecordKind, map[string]any{
			"apiKeyRef": map[string]any{"name": "crm", "uid": "1"}, "revision": int64(1), "cause": "FirstIssue", "keyID": "7Hq2xV0aBcD9", "hash": "sha256:" + strings.Repeat("0", 64),
			"environment": "production", "issuedAt": "2026-11-23T10:00:00Z", "label": "CRM", "state": "Active",
		})
	},
	"configmaps": func() *unstructured.Unstructured { return core("ConfigMap", configMap(map[string]string{"x": "y"})) },
	"leases": func() *unstructured.Unstructured {
		o := core("Lease", registered("x", "another user"))
		o.SetGroupVersionKind(coordinationv1.SchemeGroupVersion.WithKind("Lease"))
		return o
	},
	"pods":       func() *unstructured.Unstructured { return core("Pod", pod()) },
	"namespaces": func() *unstructured.Unstructured { return core("Namespace", &corev1.Namespace{}) },
}

func core(kind string, typed runtime.Object) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	convert(o, typed)
	return o
}
