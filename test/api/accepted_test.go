// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

func create(t *testing.T, manifest string, patches ...string) *unstructured.Unstructured {
	t.Helper()
	created := object(manifest, patches...)
	must(t, admin.Create(t.Context(), created))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(admin.Delete(context.Background(), created))) })
	return created
}

func TestManifestsThatAreUnusualAndRightAreAccepted(t *testing.T) {
	for name, patch := range map[string]string{
		"the least a key needs":         `{"spec": {"scopes": null, "expiresAt": null, "rotation": null, "secret": null}}`,
		"a hundred letters of no ASCII": `{"spec": {"label": "` + strings.Repeat("ü", 100) + `"}}`,
		"a label from right to left":    `{"spec": {"label": "שרת ייצור 2"}}`,
		"a label with joiners":          `{"spec": {"label": "👩\u200d💻 می\u200cخواهم ❤️"}}`,
		"a label around emoji":          `{"spec": {"label": " Zoë's 🤖 "}}`,
		"as many scopes as may be":      `{"spec": {"scopes": ` + scopes(32) + `}}`,
		"all scopes":                    `{"spec": {"scopes": ["*"]}}`,
		"all scopes of a kind":          `{"spec": {"scopes": ["conversations.*", "a:b_c-d.9"]}}`,
		"an environment of 32":          `{"spec": {"environment": "` + long(32) + `"}}`,
		"an environment of one":         `{"spec": {"environment": "p"}}`,
		"a zone":                        `{"spec": {"expiresAt": "2126-01-01T00:00:00+05:30"}}`,
		"minutes and seconds":           `{"spec": {"rotation": {"interval": "1h30m", "overlap": "1m1.5s"}}}`,
		"the shortest interval":         `{"spec": {"rotation": {"interval": "60000ms", "overlap": "0s"}}}`,
		"overlap without an interval":   `{"spec": {"rotation": {"interval": null, "overlap": "876000h"}}}`,
		"retired when unused":           `{"spec": {"rotation": {"retire": "WhenUnused", "quietPeriod": "30m", "maxOverlap": "720h"}}}`,
		"no quiet period":               `{"spec": {"rotation": {"retire": "WhenUnused", "quietPeriod": "0s", "maxOverlap": "24h"}}}`,
		"a maxOverlap without use":      `{"spec": {"rotation": {"retire": "AfterOverlap", "quietPeriod": "1h", "maxOverlap": "24h"}}}`,
		"an expired key":                `{"spec": {"expiresAt": "2020-01-01T00:00:00Z", "rotation": {"requestedAt": "2019-01-01T00:00:00Z"}}}`,
		"a revoked key":                 `{"spec": {"state": "Revoked"}}`,
		"a time of the last day":        `{"spec": {"expiresAt": "9000-01-01T00:00:00+00:01"}}`,
		"a request in the future":       `{"spec": {"rotation": {"requestedAt": "2125-12-31T23:59:59Z"}}}`,
		"the name spelt out":            `{"spec": {"secret": {"name": "crm"}}}`,
		"an entry beginning with a dot": `{"spec": {"secret": {"key": ".env"}}}`,
		"an annotation with async":      `{"spec": {"secret": {"template": {"annotations": {"example.com/async-worker": "true"}}}}}`,
		"a reloader's annotation":       `{"spec": {"secret": {"template": {"annotations": {"reloader.stakater.com/match": "true"}}}}}`,
	} {
		t.Run(name, func(t *testing.T) { create(t, goodKey, patch) })
	}
}

func TestWhatMayChangeChanges(t *testing.T) {
	key := create(t, goodKey, `{"spec": {"secret": {"name": null, "key": null}}}`)
	for name, patch := range map[string]string{
		"label":                      `{"spec": {"label": "Another"}}`,
		"state":                      `{"spec": {"state": "Revoked"}}`,
		"state by default":           `{"spec": {"state": null}}`,
		"expiresAt into the past":    `{"spec": {"expiresAt": "2020-01-01T00:00:00Z"}}`,
		"expiresAt removed":          `{"spec": {"expiresAt": null}}`,
		"rotation removed":           `{"spec": {"rotation": null}}`,
		"the default name spelt out": `{"spec": {"secret": {"name": "crm", "key": "api-key"}}}`,
		"scopes":                     `{"spec": {"scopes": ["*"]}}`,
	} {
		if err := admin.Patch(t.Context(), key.DeepCopy(), mergePatch(patch)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheRightToUseIsAskedForScopesOnly(t *testing.T) {
	key := create(t, goodKey)
	bob, err := clientOf(editor)
	must(t, err)
	for name, patch := range map[string]string{
		"rotation": `{"metadata": {"annotations": {"keys.dgbot.io/rotate-requested-at": "2026-01-01T00:00:00Z"}}}`,
		"label":    `{"spec": {"label": "Another"}}`,
		"revoking": `{"spec": {"state": "Revoked"}}`,
		"the same scopes in another order are no change": `{"spec": {"scopes": ["conversations.read"]}}`,
	} {
		if err := bob.Patch(t.Context(), key.DeepCopy(), mergePatch(patch)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	staging := object(goodKey, `{"metadata": {"name": "bobs"}, "spec": {"environment": "staging"}}`)
	must(t, bob.Create(t.Context(), staging))
	must(t, bob.Delete(t.Context(), staging))
}

// TestTheRightToReadIsAskedForImportsOnly: who may not get the Secret may change everything else, and take the import away.
func TestTheRightToReadIsAskedForImportsOnly(t *testing.T) {
	const imports = `{"spec": {"identityVerification": {"importFrom": {"name": "existing", "key": "hmac"}}}}`
	chatbot := object(goodChatbot, imports)
	alice, err := clientOf(namespaceAdmin)
	must(t, err)
	must(t, alice.Create(t.Context(), chatbot))
	t.Cleanup(func() { must(t, admin.Delete(context.Background(), chatbot)) })
	bob, err := clientOf(editor)
	must(t, err)
	for _, patch := range []string{
		`{"spec": {"displayName": "Another"}}`, imports, `{"spec": {"identityVerification": {"acceptPlain": false}}}`,
		`{"spec": {"identityVerification": {"importFrom": null}}}`, `{"spec": {"identityVerification": null}}`,
	} {
		if err := bob.Patch(t.Context(), chatbot.DeepCopy(), mergePatch(patch)); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
}

func TestRecord_UsersWithTheRightsDetachAndDelete(t *testing.T) {
	owned := `{"metadata": {"finalizers": ["example.com/held"], "ownerReferences": [{"apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotAPIKey", "name": "crm", "uid": "0-0"}]}}`
	record := create(t, goodRecord, owned)
	alice, err := clientOf(namespaceAdmin)
	must(t, err)
	must(t, alice.Patch(t.Context(), record.DeepCopy(), mergePatch(`{"metadata": {"ownerReferences": null}}`)))
	must(t, alice.Patch(t.Context(), record.DeepCopy(), mergePatch(`{"metadata": {"finalizers": null}}`)))
	must(t, alice.Delete(t.Context(), record.DeepCopy()))
}

func TestRecord_NeverBecomesValidAgain(t *testing.T) {
	record := create(t, goodRecord)
	for _, patch := range []string{
		`{"spec": {"state": "Disabled"}}`, `{"spec": {"state": "Active"}}`,
		`{"spec": {"notAfter": "2125-12-31T23:59:59Z"}}`, `{"spec": {"notAfter": "2126-01-01T00:59:59+01:00"}}`,
		`{"spec": {"label": "Another", "scopes": ["a"]}}`, `{"spec": {"state": "Revoked"}}`,
	} {
		if err := admin.Patch(t.Context(), record.DeepCopy(), mergePatch(patch)); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
}

// kubectl runs kubectl as the cluster's admin with a manifest on standard input.
func kubectl(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	command := cluster.Kubectl(t.Context(), args...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	return string(out), err
}

func TestApplyingTwiceChangesNothing(t *testing.T) {
	for name, args := range map[string][]string{
		"client-side": {"apply", "-f", "-"},
		"server-side": {"apply", "--server-side", "-f", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			version := func() string {
				key := object(goodKey)
				must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(key), key))
				return key.GetResourceVersion()
			}
			if out, err := kubectl(t, goodKey, args...); err != nil {
				t.Fatal(out)
			}
			t.Cleanup(func() { must(t, admin.Delete(context.Background(), object(goodKey))) })
			// As the operator does. Before it has, the status that a new object has by default is not stored yet, and a
			// server-side apply stores it.
			must(t, admin.Status().Patch(t.Context(), object(goodKey), mergePatch(`{"status": {"observedGeneration": 1}}`)))
			first := version()
			out, err := kubectl(t, goodKey, args...)
			if err != nil {
				t.Fatal(out)
			}
			if name == "client-side" && !strings.Contains(out, "unchanged") {
				t.Errorf("kubectl says %q", out)
			}
			if version() != first {
				t.Error("the second apply wrote")
			}
		})
	}
}

func TestAnotherManagerMeetsAConflictAndMayForceIt(t *testing.T) {
	if out, err := kubectl(t, goodKey, "apply", "--server-side", "--field-manager=argocd", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	t.Cleanup(func() { must(t, admin.Delete(context.Background(), object(goodKey))) })
	other := strings.Replace(goodKey, "Production server", "Another", 1)
	out, err := kubectl(t, other, "apply", "--server-side", "--field-manager=flux", "-f", "-")
	if err == nil || !strings.Contains(out, `conflict with "argocd"`) || !strings.Contains(out, ".spec.label") {
		t.Errorf("no conflict over the label: %s", out)
	}
	if out, err := kubectl(t, other, "apply", "--server-side", "--field-manager=flux", "--force-conflicts", "-f", "-"); err != nil {
		t.Error(out)
	}
	more := `{"apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotAPIKey", "metadata": {"name": "crm", "namespace": "tenant"}, "spec": {"scopes": ["billing.read"]}}`
	if out, err := kubectl(t, more, "apply", "--server-side", "--field-manager=billing", "-f", "-"); err == nil || !strings.Contains(out, ".spec.scopes") {
		t.Errorf("no conflict over the scopes: %s", out)
	}
}

func TestUnknownFieldsAreRefusedWarnedOfOrDroppedAsAsked(t *testing.T) {
	misspelt := strings.Replace(goodKey, `"label": "Production server"`, `"label": "Production server", "lable": "x"`, 1)
	out, err := kubectl(t, misspelt, "apply", "-f", "-")
	if err == nil || !strings.Contains(out, `strict decoding error: unknown field "spec.lable"`) {
		t.Errorf("not refused: %s", out)
	}
	out, err = kubectl(t, misspelt, "apply", "--validate=warn", "-f", "-")
	if err != nil || !strings.Contains(out, `Warning: unknown field "spec.lable"`) {
		t.Errorf("not warned of: %s", out)
	}
	t.Cleanup(func() { must(t, admin.Delete(context.Background(), object(goodKey))) })
	key := object(goodKey)
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(key), key))
	if _, found, _ := unstructured.NestedString(key.Object, "spec", "lable"); found {
		t.Error("an unknown field was stored")
	}
	if state, found, _ := unstructured.NestedString(key.Object, "spec", "state"); found {
		t.Errorf("the API server added the state %q", state)
	}
}

// TestWhatTheDocumentationShowsIsAccepted: every whole manifest in the README, and the samples.
func TestWhatTheDocumentationShowsIsAccepted(t *testing.T) {
	for _, namespace := range []string{"support", "website"} {
		if out, err := kubectl(t, "", "create", "namespace", namespace); err != nil {
			t.Fatal(out)
		}
	}
	readme, err := os.ReadFile(filepath.Join(controlplane.Repository(), "README.md"))
	must(t, err)
	manifests := 0
	for _, block := range strings.Split(string(readme), "```yaml\n")[1:] {
		manifest, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(manifest, "apiVersion: ") {
			continue
		}
		manifests++
		if out, err := kubectl(t, manifest, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			t.Errorf("%s\n%s", out, manifest)
		}
	}
	if manifests == 0 {
		t.Error("the README shows no manifest")
	}
	out, err := kubectl(t, "", "apply", "--dry-run=server", "--validate=strict", "-k", filepath.Join(controlplane.Repository(), "config", "samples"))
	// The environments of those names exist already.
	if err != nil || strings.Count(out, " created ") != 4 || strings.Count(out, " configured ") != 3 {
		t.Errorf("the samples: %s", out)
	}
}

// TestStatus_OfNewObjectsShowsNoObservation: whatever status the client sends. Tools that follow kstatus take an object without a
// status for an object that needs none, and would not wait for the operator.
func TestStatus_OfNewObjectsShowsNoObservation(t *testing.T) {
	for _, manifest := range []string{goodKey, goodChatbot, goodEnvironment} {
		for _, status := range []string{`{}`, `{"status": {}}`, `{"status": {"observedGeneration": 1, "conditions": [
			{"type": "Ready", "status": "True", "reason": "Issued", "message": "forged", "lastTransitionTime": "2026-11-23T10:00:00Z"}]}}`} {
			created := create(t, manifest, status)
			must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(created), created))
			if got, _, _ := unstructured.NestedMap(created.Object, "status"); len(got) != 1 || got["observedGeneration"] != int64(-1) {
				t.Errorf("%s created with %s has the status %v", created.GetKind(), status, got)
			}
			must(t, admin.Delete(t.Context(), created))
		}
	}
}

func TestKeysAndRecordsAreFoundByTheirFields(t *testing.T) {
	create(t, goodKey)
	create(t, goodKey, `{"metadata": {"name": "active"}, "spec": {"environment": "staging", "state": "Active"}}`)
	create(t, goodKey, `{"metadata": {"name": "disabled"}, "spec": {"environment": "staging", "state": "Disabled"}}`)
	create(t, goodRecord)
	// A key without a state is active, and has no value to be selected by: docs/operations.md.
	out, err := kubectl(t, "", "get", "dgkey", "-n", namespace, "-o", "name", "--field-selector", "spec.state!=Disabled,spec.state!=Revoked")
	if err != nil || !strings.Contains(out, "/crm") || !strings.Contains(out, "/active") || len(strings.Fields(out)) != 2 {
		t.Errorf("the keys that are neither Disabled nor Revoked: %v %s", err, out)
	}
	for resource, selectors := range map[string][]string{
		"dgbotapikeys":       {"spec.environment=production", "spec.state=", "spec.state=Active", "spec.state=Disabled", "spec.state!=Active,spec.state!=Disabled"},
		"dgbotapikeyrecords": {"spec.keyID=abcdefABCDEF", "spec.environment=production", "spec.state=Active", "spec.apiKeyRef.uid=0-0"},
	} {
		for _, selector := range selectors {
			out, err := kubectl(t, "", "get", resource, "-n", namespace, "-o", "name", "--field-selector", selector)
			if err != nil || len(strings.Fields(out)) != 1 {
				t.Errorf("%s by %s: %v %s", resource, selector, err, out)
			}
		}
	}
}
