// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestEveryFieldIsExplained: kubectl explain is the users' reference.
func TestEveryFieldIsExplained(t *testing.T) {
	for _, name := range []string{"dgbotapikeys.keys.dgbot.io", "dgbotapikeyrecords.keys.dgbot.io", "dgbotchatbots.keys.dgbot.io", "dgbotenvironments.keys.dgbot.io"} {
		crd := &unstructured.Unstructured{}
		crd.SetAPIVersion("apiextensions.k8s.io/v1")
		crd.SetKind("CustomResourceDefinition")
		must(t, admin.Get(t.Context(), client.ObjectKey{Name: name}, crd))
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		must(t, err)
		version, ok := versions[0].(map[string]any)
		if !ok {
			t.Fatal("no version")
		}
		schema, _, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		must(t, err)
		if n := explained(t, name, schema); n < 12 {
			t.Errorf("%s: only %d fields found", name, n)
		}
	}
}

// explained checks the properties of a schema and counts them.
func explained(t *testing.T, path string, schema map[string]any) int {
	t.Helper()
	properties, _, _ := unstructured.NestedMap(schema, "properties")
	n := 0
	for name, property := range properties {
		at := path + "." + name
		fields, ok := property.(map[string]any)
		if !ok {
			t.Fatalf("%s is no schema", at)
		}
		description, _ := fields["description"].(string)
		if name != "metadata" && len(description) < 15 {
			t.Errorf("%s: description %q", at, description)
		}
		n += 1 + explained(t, at, fields)
		if items, ok := fields["items"].(map[string]any); ok {
			n += explained(t, at+"[]", items)
		}
	}
	return n
}

func TestKubectlExplainsAndLists(t *testing.T) {
	create(t, goodKey)
	create(t, goodRecord)
	create(t, goodChatbot)
	create(t, goodEnvironment)
	for _, kind := range []string{"dgkey", "dgrec", "dgbotcb", "dgcb", "dgenv"} {
		must(t, wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
			_, err := kubectl(t, "", "explain", kind) // discovery and OpenAPI follow a new kind after a moment
			return err == nil, nil
		}))
	}
	for command, wants := range map[string][]string{
		"explain dgkey.spec.rotation.retire":                         {"AfterOverlap", "WhenUnused", "PreviousRevisionInUse"},
		"explain dgkey.spec.rotation.quietPeriod":                    {"Default 1h"},
		"explain dgkey.spec.rotation.maxOverlap":                     {"how long previous revisions stay valid at most"},
		"explain dgkey.spec.rotation.overlap":                        {"Default 24h, or half the interval"},
		"explain dgkey.spec.chatbotRef":                              {"issues the first revision when the chatbot has an ID"},
		"explain dgbotcb.spec.chatbotID":                             {"adopt", "public and unique"},
		"explain dgbotcb.spec.identityVerification.importFrom":       {"reads the Secret once", "ImportIgnored"},
		"explain dgbotcb.spec.identityVerification.secret":           {"hmac-secret-previous"},
		"explain dgbotcb.spec.identityVerification.rotation.overlap": {"Default 24h", "a revocation does not"},
		"get dgbotcb -n " + namespace:                                {"CHATBOT-ID", "ENVIRONMENT", "NAME", "READY", "AGE", "Support bot"},
		"explain dgkey.spec.state":                                   {"Active", "Disabled", "Revoked", "restores no earlier one"},
		"explain dgkey.status.conditions":                            {"Ready is always present"},
		"explain dgrec.spec.cause":                                   {"FirstIssue", "SecretAltered", "ExpiryChanged"},
		"get dgbot -n " + namespace:                                  {"dgbotapikey.keys.dgbot.io/crm", "dgbotapikeyrecord.keys.dgbot.io/crm-00000000-r1", "dgbotchatbot.keys.dgbot.io/support-bot", "dgbotenvironment.keys.dgbot.io/"},
		"get dgcb -n " + namespace:                                   {"support-bot"},
		"get dgkey -n " + namespace:                                  {"KEY-ID", "ENVIRONMENT", "LABEL", "READY", "LAST-USED", "NEXT-ROTATION", "AGE", "Production server"},
		"get dgkey -o wide -n " + namespace:                          {"REVISION", "EXPIRES", "REASON", "2126-01-01T00:00:00Z"},
		"get dgrec -n " + namespace:                                  {"KEY-ID", "CAUSE", "STATE", "NOT-AFTER", "abcdefABCDEF"},
		"api-resources --api-group=keys.dgbot.io":                    {"dgkey", "dgrec", "DGbotAPIKeyRecord"},
	} {
		out, err := kubectl(t, "", strings.Fields(command)...)
		if err != nil {
			t.Errorf("kubectl %s: %s", command, out)
		}
		words := strings.Join(strings.Fields(out), " ") // kubectl breaks lines anywhere
		for _, want := range wants {
			if !strings.Contains(words, want) {
				t.Errorf("kubectl %s does not say %q:\n%s", command, want, out)
			}
		}
	}
}
