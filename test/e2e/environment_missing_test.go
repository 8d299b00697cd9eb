// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/process"
)

// kubectl runs kubectl as the cluster admin, in the place's namespace.
func (p *place) kubectl(args ...string) {
	p.T.Helper()
	if out, err := world.Kubectl(p.T.Context(), append(args, "-n", p.Name)...).CombinedOutput(); err != nil {
		p.T.Fatalf("kubectl %s: %v\n%s\nlast lines of the operator:\n%s", strings.Join(args, " "), err, out, world.LogTail(30))
	}
}

// of puts a key into an environment.
func of(environment string) func(*v1alpha1.DGbotAPIKey) {
	return func(k *v1alpha1.DGbotAPIKey) { k.Spec.Environment = environment }
}

func (p *place) has(name, condition string) bool {
	p.T.Helper()
	return apimeta.IsStatusConditionTrue(p.Key(name).Status.Conditions, condition)
}

// TestEnvironments_HoldKeysThatAreAppliedWithThem: kubectl applies the keys of a kustomization before its environment.
func TestEnvironments_HoldKeysThatAreAppliedWithThem(t *testing.T) {
	const count = 15
	startOperator(t, "--leader-elect=false")
	startOperator(t, "--leader-elect=false")
	p := newPlace(t)
	var objects strings.Builder
	for i := range count {
		scope := "*"
		if i == 0 {
			scope = "conversations.read"
		}
		fmt.Fprintf(&objects, `---
apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: key-%02d, namespace: %s}
spec: {label: One of many, environment: %s, scopes: [%q]}
`, i, p.Name, p.Name, scope)
	}
	fmt.Fprintf(&objects, `---
apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotEnvironment
metadata: {name: %s}
spec: {allowedScopes: [conversations.*]}
`, p.Name)
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte("resources: [objects.yaml]\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "objects.yaml"), []byte(objects.String()), 0o600))
	p.kubectl("apply", "-k", folder)
	p.AwaitReady("key-00")
	for i := 1; i < count; i++ {
		p.AwaitNotReady(fmt.Sprintf("key-%02d", i), v1alpha1.EnvironmentPolicyReason)
	}
	for _, record := range p.Records("") {
		if record.Spec.APIKeyRef.Name != "key-00" {
			t.Errorf("%s was issued with the scopes %q", record.Spec.APIKeyRef.Name, record.Spec.Scopes)
		}
	}
}

// TestEnvironments_ShowAMisspelledNameAfterAMinute, which kubectl wait sees, and let the key be issued as soon as one of that name
// appears.
func TestEnvironments_ShowAMisspelledNameAfterAMinute(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	misspelled := p.Name + "x"
	p.CreateKey("wrong", of(misspelled))
	p.kubectl("wait", "--for=condition=Reconciling", "dgkey/wrong", "--timeout=30s")
	p.kubectl("wait", "--for=condition=Stalled", "dgkey/wrong", "--timeout=90s")
	key := p.Key("wrong")
	ready := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ReadyCondition)
	if ready.Reason != v1alpha1.EnvironmentUnknownReason || len(p.Records("")) != 0 {
		t.Fatalf("Ready is %s, and there are %d records", ready.Reason, len(p.Records("")))
	}
	for _, want := range []string{misspelled, "development", "production", "staging"} {
		if !strings.Contains(ready.Message, want) {
			t.Errorf("the message lacks %s: %s", want, ready.Message)
		}
	}
	stalled := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.StalledCondition)
	if after := stalled.LastTransitionTime.Sub(key.CreationTimestamp.Time); after < time.Minute {
		t.Errorf("Stalled %s after the creation", after)
	}
	// Another environment appears: the message follows.
	p.environment(p.Name, v1alpha1.DGbotEnvironmentSpec{})
	p.Eventually("the message names the new environment", func() bool {
		return strings.Contains(p.AwaitNotReady("wrong", v1alpha1.EnvironmentUnknownReason).Message, p.Name+",") ||
			strings.Contains(p.AwaitNotReady("wrong", v1alpha1.EnvironmentUnknownReason).Message, " more)")
	})
	p.environment(misspelled, v1alpha1.DGbotEnvironmentSpec{})
	p.kubectl("wait", "--for=condition=Ready", "dgkey/wrong", "--timeout=30s")
}

// TestEnvironments_UpgradeFromAManagerThatDidNotRequireThem: keys that were issued go on, two instances at once.
func TestEnvironments_UpgradeFromAManagerThatDidNotRequireThem(t *testing.T) {
	earlier := startOperator(t, "--require-environment=false")
	p := newPlace(t)
	p.CreateKey("old", of(p.Name))
	p.AwaitReady("old")
	text := p.KeyText("old")
	must(t, earlier.Stop())

	var instances [2]*process.Program
	for i := range instances {
		instances[i] = startOperator(t, "--leader-elect=false")
	}
	p.Eventually("the environment is reported as missing", func() bool { return p.has("old", v1alpha1.EnvironmentMissingCondition) })
	p.AwaitReady("old")
	if p.KeyText("old") != text || len(p.Records("old")) != 1 {
		t.Fatalf("%d revisions, want the one that there was", len(p.Records("old")))
	}
	p.kubectl("annotate", "dgkey/old", v1alpha1.RotateRequestedAtAnnotation+"="+time.Now().UTC().Format(time.RFC3339))
	p.Eventually("the key is rotated", func() bool { return p.KeyText("old") != text && len(p.Records("old")) == 2 })
	p.AwaitReady("old")
	rotated := p.KeyText("old")
	must(t, admin.Delete(t.Context(), p.Secret("old")))
	p.Eventually("the Secret is replaced", func() bool { return p.KeyText("old") != "" && p.KeyText("old") != rotated })
	p.AwaitReady("old")
	p.CreateKey("new", of(p.Name))
	p.AwaitNotReady("new", v1alpha1.EnvironmentUnknownReason)

	p.environment(p.Name, v1alpha1.DGbotEnvironmentSpec{})
	p.AwaitReady("new")
	p.Eventually("the environment is no longer reported as missing", func() bool { return !p.has("old", v1alpha1.EnvironmentMissingCondition) })
	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}))
	p.Eventually("it is again once the environment is deleted", func() bool { return p.has("new", v1alpha1.EnvironmentMissingCondition) })

	// A key whose state was lost is a first issue: the absence of records and status grants nothing.
	for i := range instances {
		must(t, instances[i].Stop())
	}
	must(t, admin.DeleteAllOf(t.Context(), &v1alpha1.DGbotAPIKeyRecord{}, client.InNamespace(p.Name)))
	must(t, admin.Status().Patch(t.Context(), p.Key("new"), client.RawPatch(types.MergePatchType, []byte(`{"status":null}`))))
	startOperator(t)
	p.AwaitNotReady("new", v1alpha1.EnvironmentUnknownReason)
	p.AwaitReady("old") // its status remembers the revision
}
